//! `wharf:worker/secrets`: secrets of a Dapr secret store, read now. That one was read is
//! recorded, and never what it is.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker};

use super::Refusals;
use crate::grant;
use crate::manifest::Manifest;
use crate::runtime::Reads;
use crate::runtime::invoke::Run;
use crate::runtime::recording::{ReadCall, Transcript};
use crate::runtime::world::wharf::worker::secrets::{self, SecretError};

pub fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    secrets::add_to_linker::<Run, Linked>(linker, |run| View {
        manifest: &run.loaded.manifest,
        reads: &run.call.reads,
        refusals: &mut run.refusals,
        transcript: &mut run.transcript,
    })
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a>;
}

struct View<'a> {
    manifest: &'a Manifest,
    reads: &'a Arc<dyn Reads>,
    refusals: &'a mut Refusals,
    transcript: &'a mut Transcript,
}

impl secrets::Host for View<'_> {
    async fn get(
        &mut self,
        store: String,
        key: String,
    ) -> wasmtime::Result<Result<Vec<(String, String)>, SecretError>> {
        let store = match grant::secret(self.manifest, &store, &key) {
            Ok(store) => store,
            Err(why) => return Ok(Err(SecretError::Denied(self.refusals.denied(&why)))),
        };
        self.transcript.asked(|| ReadCall::Secret { store: store.clone(), name: key.clone() });
        // The wait for Dapr is the read itself: until it answers, the store is away.
        let waiting = self.refusals.waiting.begin();
        let entries = self.reads.secret(store.clone(), key.clone(), waiting.clone()).await;
        waiting.taken_up();
        self.transcript.secret(&entries);
        Ok(match entries {
            Ok(Some(entries)) => Ok(entries),
            Ok(None) => Err(SecretError::Missing(format!("store `{store}` has no secret `{key}`"))),
            Err(error) => Err(SecretError::Unavailable(self.refusals.away(error))),
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt as _;
    use futures::future::BoxFuture;

    use super::*;
    use crate::effect::{Secret, SqlRow, SqlValue};
    use crate::name::StoreName;
    use crate::runtime::{ReadAnswer, ReadError, Waiting};

    type Entries = Result<Option<Secret>, ReadError>;

    /// A store that has one answer for every secret.
    struct Store(Entries);

    impl Reads for Store {
        fn query(
            &self,
            _: Arc<str>,
            _: Vec<SqlValue>,
            _: Waiting,
        ) -> BoxFuture<'_, Result<Vec<SqlRow>, ReadError>> {
            Box::pin(futures::future::pending())
        }

        fn state(
            &self,
            _: StoreName,
            _: String,
            _: Waiting,
        ) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
            Box::pin(futures::future::pending())
        }

        fn secret(&self, _: StoreName, _: String, _: Waiting) -> BoxFuture<'_, Entries> {
            Box::pin(async { self.0.clone() })
        }
    }

    /// Asks for a secret; gives the answer, the refusals, and what is recorded of it.
    fn get(answer: Entries, key: &str) -> (Result<Secret, SecretError>, Refusals, Vec<ReadAnswer>) {
        let text = "name = \"a\"\nversion = \"1\"\n[[on]]\nevent = \"*\"\n\
                    [grants]\nsecrets = { vault = [\"key\"] }\n";
        let manifest = Manifest::parse(std::path::Path::new("component.toml"), text).unwrap();
        let (mut refusals, mut transcript) = (Refusals::default(), Transcript::new(true));
        let reads: Arc<dyn Reads> = Arc::new(Store(answer));
        let mut view = View {
            manifest: &manifest,
            reads: &reads,
            refusals: &mut refusals,
            transcript: &mut transcript,
        };
        let got = secrets::Host::get(&mut view, "vault".into(), key.into()).now_or_never();
        let answers = transcript.into_reads().0.into_iter().map(|read| read.answer);
        (got.unwrap().unwrap(), refusals, answers.collect())
    }

    #[test]
    fn a_secret_is_given_and_not_kept() {
        let entries = vec![("user".to_owned(), "u".to_owned()), ("password".into(), "p".into())];
        let (got, refusals, kept) = get(Ok(Some(entries.clone())), "key");
        assert_eq!(got.map_err(drop), Ok(entries));
        assert_eq!(kept, [ReadAnswer::Withheld]);
        assert!(refusals.away.is_none());
    }

    #[test]
    fn one_that_is_not_there_names_store_and_key() {
        let (got, refusals, _) = get(Ok(None), "key");
        assert!(
            matches!(got, Err(SecretError::Missing(text)) if text == "store `vault` has no secret `key`")
        );
        assert!(refusals.away.is_none() && refusals.denied.is_empty());
    }

    #[test]
    fn one_that_is_not_granted_is_not_asked_for() {
        let (got, refusals, kept) = get(Ok(None), "other");
        assert!(matches!(got, Err(SecretError::Denied(text)) if text.contains("secret `other`")));
        assert_eq!((refusals.denied.len(), kept.len()), (1, 0));
    }

    #[test]
    fn a_store_that_is_away_or_refuses_is_unavailable() {
        for error in [ReadError::Unavailable("away".into()), ReadError::Failed("away".into())] {
            let (got, refusals, _) = get(Err(error), "key");
            assert!(matches!(got, Err(SecretError::Unavailable(text)) if text == "away"));
            assert!(refusals.away.is_some() && refusals.waiting.for_so_long().is_none());
        }
    }
}
