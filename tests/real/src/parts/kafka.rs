//! Fetches the broker and all that it uses from Maven's repository.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::run::run;
use crate::cache;

pub const NAME: &str = "kafka-4.1.0";

const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// With what writes its log to stderr.
const PROJECT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>wharf</groupId>
  <artifactId>broker</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>4.1.0</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"#;

/// The folder with `lib`.
pub fn built() -> anyhow::Result<PathBuf> {
    cache::made(NAME, |folder| {
        fs::write(folder.join("pom.xml"), PROJECT)?;
        let mut command = Command::new("mvn");
        command.args(["--batch-mode", "-Dstyle.color=never", PLUGIN]);
        command.arg("-DoutputDirectory=lib").current_dir(folder);
        run(&mut command, "fetching Kafka 4.1.0")
    })
}
