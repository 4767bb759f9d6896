//! A PostgreSQL for tests and benchmarks: the one that `DATABASE_URL` names, else one of their own,
//! started from the binaries that are installed. It goes with the process that started it, however
//! that ends. Each test has a schema of its own.
//!
//! ```no_run
//! # async fn story() {
//! let schema = wharf_test_postgres::schema("orders").await;
//! // A DATABASE_URL whose tables nobody else sees.
//! println!("{}", schema.url);
//! # }
//! ```

#![expect(clippy::panic, reason = "a harness fails its test by panicking")]

mod binaries;
mod server;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

pub use server::{Durability, Server};

/// A schema of a test's own.
#[derive(Debug, Clone)]
pub struct Schema {
    /// A `DATABASE_URL` whose `search_path` is this schema.
    pub url: String,
}

/// Tests that need a PostgreSQL. Where there was none when this was built, one test stands for them
/// that is ignored, and says so. Not twice in a module.
#[cfg(not(is_missing))]
#[macro_export]
macro_rules! tests_with_postgres {
    ($($item:item)*) => { $($item)* };
}

/// Tests that need a PostgreSQL, which was not there when this was built.
#[cfg(is_missing)]
#[macro_export]
macro_rules! tests_with_postgres {
    ($($item:item)*) => {
        #[test]
        #[ignore = "PostgreSQL is missing: install its server or give DATABASE_URL, then `cargo clean -p wharf-test-postgres`"]
        fn all_that_needs_postgresql() {}
    };
}

/// Whether there is one to start: a server's programs, on this machine.
pub fn is_installed() -> bool {
    binaries::binaries().is_some()
}

/// Makes a schema that nobody else has, in the process's database. `of` begins its name.
pub async fn schema(of: &str) -> Schema {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let url = url().await;
    let name = format!("wharf_test_{of}_{}_{number}", std::process::id());
    let mut connection = PgConnection::connect(&url)
        .await
        .unwrap_or_else(|error| panic!("PostgreSQL cannot be reached: {error}; see DATABASE_URL"));
    let sql = format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}");
    let made = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
    made.unwrap_or_else(|error| panic!("the schema {name} cannot be made: {error}"));
    let joint = if url.contains('?') { '&' } else { '?' };
    Schema { url: format!("{url}{joint}options[search_path]={name}") }
}

/// The database of this process's tests: `DATABASE_URL`, else a server of its own that starts with
/// the first call.
async fn url() -> String {
    static OWN: OnceLock<Mutex<Option<Server>>> = OnceLock::new();
    if let Some(url) = given() {
        return url;
    }
    let own = OWN.get_or_init(Mutex::default);
    tokio::task::spawn_blocking(move || {
        let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
        let server = own.get_or_insert_with(|| match Server::start(Durability::None) {
            Ok(server) => server,
            Err(error) => panic!("{error}"),
        });
        server.url()
    })
    .await
    .unwrap_or_else(|error| panic!("PostgreSQL was not started: {error}"))
}

/// What `DATABASE_URL` says, if anything.
#[expect(clippy::disallowed_methods, reason = "tests are told of their database here")]
pub fn given() -> Option<String> {
    std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty())
}
