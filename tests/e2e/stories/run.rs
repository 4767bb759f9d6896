//! Runs stories, each with a thread, a runtime and a folder of its own, and says how each ends as it
//! does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream;
use tokio::runtime::Builder;
use wharf_test_real::{Yard, say};

use crate::Arguments;
use crate::list::Story;

/// After this a story has failed. None needs a fifth of it.
const PATIENCE: Duration = Duration::from_mins(15);

/// How a story ended.
pub struct Told {
    pub story: &'static Story,
    pub took: Duration,
    /// What went wrong, if anything.
    pub fault: Option<String>,
}

/// In order of the list.
pub fn all(stories: &[&'static Story], arguments: &Arguments) -> anyhow::Result<Vec<Told>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let many = stories.len();
        let telling = stories.iter().enumerate().map(|(at, story)| async move {
            say::note(format!("[{}/{many}] {} …", at + 1, story.name));
            let told = one(story, arguments.keep).await;
            if let Ok(Told { fault: None, took, .. }) = &told {
                say::note(format!("[{}/{many}] {}: ok, {took:.1?}", at + 1, story.name));
            }
            told
        });
        let at_once = arguments.at_once.max(1);
        let told: Vec<_> = stream::iter(telling).buffered(at_once).collect().await;
        told.into_iter().collect()
    })
}

async fn one(story: &'static Story, keep: bool) -> anyhow::Result<Told> {
    let began = Instant::now();
    let yard = Arc::new(Yard::new(story.name)?);
    let of_story = Arc::clone(&yard);
    let played = tokio::task::spawn_blocking(move || {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        // Its processes end with its future, and so before its folder.
        let play = async { tokio::time::timeout(PATIENCE, (story.play)(of_story)).await };
        std::io::Result::Ok(runtime.block_on(play))
    });
    let fault = match played.await {
        Ok(played) => match played? {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some(format!("it is not through after {PATIENCE:?}")),
        },
        Err(panicked) => Some(panic_text(panicked)),
    };
    if let Some(fault) = &fault {
        let folder = yard.keep().display();
        say::note(format!("FAILED {}: {fault}\n  its logs: {folder}/logs", story.name));
    } else if keep {
        say::note(format!("  {} has left {}", story.name, yard.keep().display()));
    }
    Ok(Told { story, took: began.elapsed(), fault })
}

fn panic_text(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was given up".to_owned() };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}
