//! The world of `wit/` as Rust sees it. Generated; only what the sandbox provides is linked.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "wharf:worker/worker",
    imports: {
        "wharf:worker/sql.query": async | trappable,
        "wharf:worker/state.get": async | trappable,
        "wharf:worker/secrets.get": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});
