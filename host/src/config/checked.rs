//! What no host should start with: settings that would be unsafe, or could not work.

use std::time::Duration;

use super::Config;
use crate::manifest::Limits;

/// A delivery that runs longer than it is claimed would be thrown away, every time.
const SHORTEST_LEASE: Duration = Duration::from_secs(4 * Limits::MOST_TIME.as_secs() + 10);

/// To PostgreSQL a timeout of nothing is none at all.
const SHORTEST_QUERY: Duration = Duration::from_millis(10);

impl Config {
    /// Refuses what would be unsafe or could not work.
    pub(super) fn checked(mut self) -> Result<Self, Box<figment::Error>> {
        // An unset secret often comes as an empty one, which nobody means as a token.
        for token in [&mut self.ingress.token, &mut self.admin.token, &mut self.dapr.token] {
            *token = token.take().filter(|token| !token.is_empty());
        }
        self.dapr.notify_url = self.dapr.notify_url.take().filter(|url| !url.is_empty());
        let refuse = |text: String| Err(Box::new(figment::Error::from(text)));
        if !self.admin.address.ip().is_loopback() && self.admin.token.is_none() {
            return refuse(format!(
                "the admin listener {} is reachable from outside and has no token; set [admin] token \
                 (WHARF_ADMIN__TOKEN) or listen on 127.0.0.1",
                self.admin.address
            ));
        }
        if !self.ingress.address.ip().is_loopback() && self.ingress.token.is_none() {
            return refuse(format!(
                "the ingress {} is reachable from outside and has no token; give daprd and the host \
                 the same APP_API_TOKEN ([ingress] token), or listen on 127.0.0.1",
                self.ingress.address
            ));
        }
        if self.ledger.lease < SHORTEST_LEASE {
            return refuse(format!(
                "[ledger] lease is {:?}; give {SHORTEST_LEASE:?} or more: a claimed delivery may run \
                 four times, {:?} each",
                self.ledger.lease,
                Limits::MOST_TIME
            ));
        }
        if self.dapr.notify_url.as_ref().is_some_and(|url| !url.starts_with("http://")) {
            return refuse(
                "[dapr] notify_url does not begin with http://; give one such as \
                 http://127.0.0.1:9000/notify: the embedded Dapr speaks no TLS"
                    .to_owned(),
            );
        }
        let endpoint = self.dapr.endpoint.trim_end_matches('/').to_owned();
        if !endpoint.strip_prefix("http://").is_some_and(is_authority) {
            return refuse(
                "[dapr] endpoint (DAPR_HTTP_ENDPOINT) is not a plain http:// address; give one such \
                 as http://127.0.0.1:3500: the sidecar is on this machine, and its token belongs \
                 into [dapr] token (DAPR_API_TOKEN)"
                    .to_owned(),
            );
        }
        self.dapr.endpoint = endpoint;
        self.ledger.url = self.ledger.url.take().filter(|url| !url.is_empty());
        let is_postgres =
            |url: &String| url.starts_with("postgres://") || url.starts_with("postgresql://");
        if self.ledger.url.as_ref().is_some_and(|url| !is_postgres(url)) {
            return refuse(
                "[ledger] url (DATABASE_URL) does not begin with postgres://; give one such as \
                 postgres://user:password@localhost:5432/wharf, or none for a SQLite file"
                    .to_owned(),
            );
        }
        if self.ledger.query_timeout < SHORTEST_QUERY {
            return refuse(format!(
                "[ledger] query_timeout is {:?}; give {SHORTEST_QUERY:?} or more",
                self.ledger.query_timeout
            ));
        }
        if self.ledger.committers == 0 {
            return refuse("[ledger] committers is 0; give 1 or more".to_owned());
        }
        if self.ingress.max_events == 0 {
            return refuse("[ingress] max_events is 0; give 1 or more".to_owned());
        }
        if !(1..=256).contains(&self.relay.batch) {
            let batch = self.relay.batch;
            return refuse(format!("[relay] batch is {batch}; give a number from 1 to 256"));
        }
        Ok(self)
    }
}

/// A host, and a port if there is one: no user, no path.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let may_be = |letter: char| letter.is_ascii_alphanumeric() || ".-_[]:".contains(letter);
    is_port && !host.is_empty() && host.chars().all(may_be)
}
