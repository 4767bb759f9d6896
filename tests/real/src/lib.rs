//! The real parts that Wharf stands beside, for tests: found or built once, started on free ports
//! of 127.0.0.1, awaited, and gone with the process that started them, however that ends.
//!
//! [`parts::ready`] first: it says what is missing, and builds what is not built yet. Then each test
//! has a [`Yard`], the folder of everything that it starts:
//!
//! ```no_run
//! # async fn story() -> anyhow::Result<()> {
//! use wharf_test_real::parts::{self, Part};
//! use wharf_test_real::{Daprd, Kafka, Scheduler, Sidecar, Yard};
//!
//! parts::ready(&[Part::Dapr, Part::Kafka])?;
//! let yard = Yard::new("greeting")?;
//! let kafka = Kafka::start(&yard, 3).await?;
//! let scheduler = Scheduler::start(&yard).await?;
//! let resources = yard.resources("app", &[kafka.pubsub("todo-pubsub").as_str()])?;
//! let sidecar = Sidecar { scheduler: Some(scheduler.address()), ..Sidecar::of("app", resources) };
//! let mut daprd = Daprd::start(&yard, sidecar).await?;
//! println!("publish at {}/v1.0/publish/todo-pubsub/task-events", daprd.url());
//! daprd.kill()?;
//! daprd.start_again().await?;
//! yard.keep(); // The logs of everything stay.
//! # Ok(())
//! # }
//! ```

mod cache;
mod cargo;
mod daprd;
pub mod http;
mod kafka;
pub mod parts;
pub mod port;
mod process;
mod redis;
pub mod say;
mod scheduler;
mod yard;

pub use cargo::cargo;
pub use daprd::{Daprd, Sidecar, component, retried_for_ever};
pub use kafka::Kafka;
pub use process::{Process, foreign};
pub use redis::Redis;
pub use scheduler::Scheduler;
pub use wharf_test_postgres::{Durability, Server as Postgres};
pub use yard::Yard;
