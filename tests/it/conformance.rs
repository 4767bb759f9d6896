//! The embedded Dapr does what daprd does: tests/e2e asks daprd the same questions.

use wharf_tests::conformance::embedded::Playing;
use wharf_tests::conformance::{all, ask, table};

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_dapr_does_what_daprd_does() {
    let playing = Playing::start().await;
    let worlds = [playing.world.clone()];
    let (table, wrong) = table(&ask(&all(), &worlds).await, &worlds);
    playing.stop().await;
    println!("{table}");
    assert_eq!(wrong, 0, "{table}");
}
