//! The command line. Exit code 0: fine; 1: a finding or a failure; 2: wrong use.

pub mod build;
pub mod check;
pub mod client;
pub mod components;
pub mod deliveries;
pub mod dev;
pub mod emit;
mod host;
pub mod inspect;
pub mod new;
pub mod print;
pub mod serve;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::app::StartError;

/// Runs event consumers as sandboxed WebAssembly components beside a Dapr sidecar.
#[derive(Parser)]
#[command(
    name = "wharf",
    version,
    propagate_version = true,
    after_help = "To begin:
  wharf dev                                 build and run everything here
  wharf emit com.todo.task.created.v1       publish an event, in another terminal
  wharf deliveries                          see what became of it
  wharf help COMMAND                        what it does, with examples

Exit codes: 0 fine; 1 a finding or a failure; 2 a command line that is not understood.
Settings: each has a default; --config FILE or WHARF_<SECTION>__<KEY> changes it, such as
WHARF_ADMIN__ADDRESS. `wharf serve --print-config` shows all of them. RUST_LOG says what is logged."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Dev(dev::Dev),
    Serve(serve::Serve),
    New(new::New),
    Emit(emit::Emit),
    Check(check::Check),
    Inspect(inspect::Inspect),
    Components(components::Components),
    Deliveries(deliveries::Deliveries),
    Retry(deliveries::Retry),
    Discard(deliveries::Discard),
}

/// How long what still runs at a command's end may take.
const LEFT: Duration = Duration::from_secs(1);

/// What a command found out: whether anything is wrong that a script should know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    Nothing,
    Something,
}

/// A command line that is understood, and asks for what cannot be meant. Says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUse(pub String);

/// As clap has it.
const WRONG_USE: u8 = 2;

/// Reads the arguments, runs the command and gives the exit code. clap itself exits with 2.
pub fn main() -> ExitCode {
    let cli = Cli::parse_from(keys_last(std::env::args_os().collect()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(cli.command));
            // A call to the operating system that is stuck would be waited for without end.
            runtime.shutdown_timeout(LEFT);
            result
        }
        Err(error) => Err(anyhow::Error::from(error).into()),
    };
    match result {
        Ok(Finding::Nothing) => ExitCode::SUCCESS,
        Ok(Finding::Something) => ExitCode::FAILURE,
        Err(error) => {
            print::error(&error);
            match error {
                StartError::Other(error) if error.is::<WrongUse>() => WRONG_USE.into(),
                StartError::Other(_) | StartError::Problems(_) => ExitCode::FAILURE,
            }
        }
    }
}

/// A delivery of `-` looks like an option. Whatever begins like one goes to the end, behind `--`.
fn keys_last(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let is_key = |argument: &mut OsString| argument.as_encoded_bytes().starts_with(b"-/");
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let keys: Vec<_> = arguments.extract_if(..end, is_key).collect();
    if !keys.is_empty() && !arguments.iter().any(|argument| argument == "--") {
        arguments.push("--".into());
    }
    arguments.extend(keys);
    arguments
}

async fn run(command: Command) -> Result<Finding, StartError> {
    match command {
        Command::Dev(dev) => Box::pin(dev.run()).await.map(|()| Finding::Nothing),
        Command::Serve(serve) => Box::pin(serve.run()).await.map(|()| Finding::Nothing),
        Command::New(new) => Ok(new.run().map(|()| Finding::Nothing)?),
        Command::Emit(emit) => Ok(emit.run().await.map(|()| Finding::Nothing)?),
        Command::Check(check) => Ok(check.run().await?),
        Command::Inspect(inspect) => Ok(inspect.run()?),
        Command::Components(components) => Ok(components.run().await?),
        Command::Deliveries(deliveries) => Ok(deliveries.run().await.map(|()| Finding::Nothing)?),
        Command::Retry(retry) => Ok(retry.run().await?),
        Command::Discard(discard) => Ok(discard.run().await?),
    }
}
