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

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::app::StartError;

/// Runs event consumers as sandboxed WebAssembly components beside a Dapr sidecar.
#[derive(Parser)]
#[command(name = "wharf", version, propagate_version = true)]
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

/// Reads the arguments, runs the command and gives the exit code. clap itself exits with 2.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
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
            ExitCode::FAILURE
        }
    }
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
