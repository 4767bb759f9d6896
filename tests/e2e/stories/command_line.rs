//! The README's `dapr run`, with Dapr's own command line: it starts the sidecar and the host, an
//! event passes, and what it leaves when it is stopped comes again at the next start.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use wharf_test_real::{Process, Yard, parts, port};
use wharf_tests::host::root;

use crate::host;
use crate::project::Project;
use crate::restarts::{CREATED, created};
use crate::shipped::Local;
use crate::stage::{PATIENCE, Stage};

pub async fn play(yard: Arc<Yard>) -> anyhow::Result<()> {
    let stage = Stage::set(Arc::clone(&yard), &[]).await?;
    let local = Local::of(&stage).await?;
    for (number, text) in local.files.iter().enumerate() {
        yard.write(&format!("clone/dapr/local/{number}.yaml"), text)?;
    }
    let config = "dapr/local/config.yaml";
    yard.write(&format!("clone/{config}"), &fs::read_to_string(root().join(config))?)?;
    // As `dapr init --slim` and `cargo install` leave them.
    let (home, programs) = (yard.folder("home")?, yard.folder("programs")?);
    symlink(parts::daprd()?, yard.folder("home/.dapr/bin")?.join("daprd"))?;
    symlink(parts::dapr()?, programs.join("dapr"))?;
    symlink(host::program()?, programs.join("wharf"))?;

    let (ingress, admin) = (port::free()?, port::free()?);
    let mut command = command()?;
    let app_port = command.iter_mut().find(|word| *word == "8080");
    *app_port.context("the README names the app's port")? = ingress.to_string();
    // On a machine where `dapr init` was run the scheduler is where it is looked for.
    command.splice(2..2, ["--scheduler-host-address".to_owned(), stage.scheduler.address()]);
    let mut variables = stage.variables("host", &Project::audit(&yard)?, [ingress, admin])?;
    variables.push(("HOME", home.display().to_string()));
    variables.push(("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display())));
    let (folder, log) = (yard.path("clone"), yard.log("dapr"));
    let mut dapr = Process::start("dapr run", &command, &variables, &folder, &log)?;
    dapr.until_success(&format!("http://127.0.0.1:{ingress}/health"), PATIENCE).await?;

    let stops = async {
        stage.progress().await?;
        for _ in 0..2 {
            // As `dapr stop` does.
            let status = dapr.stop(PATIENCE).await?;
            ensure!(status.success(), "dapr ended with {status}: {}", dapr.said());
            dapr.start_again()?;
            stage.progress().await?;
        }
        Ok(())
    };
    let ids = stage.outside.under_load("task-events", created, stops).await?;
    stage.audited_once(CREATED, &ids).await?;
    let log = dapr.log();
    ensure!(log.contains("You're up and running!"), "{log}");
    Ok(())
}

/// The README's own words.
fn command() -> anyhow::Result<Vec<String>> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let from = readme.find("dapr run ").context("the README has a `dapr run`")?;
    let text = readme.split_at(from).1;
    let text = text.split_once("\n```").context("it is a block")?.0;
    let words = text.split_whitespace().filter(|word| *word != "\\");
    Ok(words.map(str::to_owned).collect())
}
