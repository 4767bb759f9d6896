//! How long a lone event takes, from publishing it to its row: a trigger tells of each row when it is
//! committed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnection, PgListener};
use tokio::time::{sleep_until, timeout};
use wharf_bench::event;

use super::pair::Pair;
use super::site::Site;
use super::{PACE, Way};

/// Events that do not count: connections are made, and code is loaded.
const WARM_UP: usize = 20;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(30);

const TELL: &str = "CREATE OR REPLACE FUNCTION bench_tell() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN PERFORM pg_notify('bench_rows', NEW.event_id); RETURN NULL; END $$; \
    CREATE TRIGGER bench_tell AFTER INSERT ON audit_log \
        FOR EACH ROW EXECUTE FUNCTION bench_tell()";
const BE_SILENT: &str = "DROP TRIGGER bench_tell ON audit_log";

/// Sends `count` events, one by one; gives the latencies of all but the first, sorted.
pub async fn of(
    pair: &mut Pair,
    site: &mut Site,
    way: Way,
    count: u64,
) -> anyhow::Result<Vec<Duration>> {
    pair.open(site, way).await?;
    // What others were sent meanwhile.
    pair.has(&site.published()).await?;
    let url = pair.contestant.tables.url();
    let mut connection = PgConnection::connect(&url).await?;
    sqlx::raw_sql(TELL).execute(&mut connection).await?;
    let mut rows = PgListener::connect(&url).await?;
    rows.listen("bench_rows").await?;
    let sent = RefCell::new(HashMap::new());
    let sending = send(site, count, |id| {
        sent.borrow_mut().insert(id, Instant::now());
    });
    let receiving = async {
        let mut latencies = Vec::new();
        for _ in 0..count {
            let row = timeout(PATIENCE, rows.recv()).await.context("a row did not come")??;
            let began: Option<Instant> = sent.borrow_mut().remove(row.payload());
            latencies.push(began.context("a row of an event that was not sent")?.elapsed());
        }
        anyhow::Ok(latencies)
    };
    let ((), latencies) = futures::try_join!(sending, receiving)?;
    sqlx::raw_sql(BE_SILENT).execute(&mut connection).await?;
    pair.contestant.drain().await?;
    pair.close().await?;
    let mut latencies: Vec<_> = latencies.into_iter().skip(WARM_UP).collect();
    latencies.sort_unstable();
    Ok(latencies)
}

/// At a pace that is not that of daprd's timers.
async fn send(site: &mut Site, count: u64, sending: impl Fn(String)) -> anyhow::Result<()> {
    let mut next = tokio::time::Instant::now();
    for index in 0..count {
        sleep_until(next).await;
        site.publish(|number| sending(event::id(number))).await?;
        next += PACE / 2 + PACE.mul_f64((index * 7 % 11) as f64 / 10.0);
    }
    Ok(())
}
