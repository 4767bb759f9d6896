//! `wasi:config/store`: the manifest's `[config]`.

use std::collections::BTreeMap;

use wasmtime::component::{HasData, Linker};

use crate::runtime::invoke::Run;
use crate::runtime::world::wasi::config::store::{self, Error};

pub fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    store::add_to_linker::<Run, Linked>(linker, |run| View { config: &run.loaded.manifest.config })
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a>;
}

struct View<'a> {
    config: &'a BTreeMap<String, String>,
}

impl store::Host for View<'_> {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        Ok(Ok(self.config.get(&key).cloned()))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        Ok(Ok(self.config.clone().into_iter().collect()))
    }
}
