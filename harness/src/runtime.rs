//! The async runtime inside this blocking crate.

use std::{future::Future, sync::OnceLock};

use tokio::runtime::{Builder, Handle, Runtime};

/// The runtime on which HTTP is spoken.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("netproof")
            .enable_all()
            .build()
            .expect("a tokio runtime needs a thread and an epoll descriptor")
    })
}

/// Waits for `future`, from blocking and from async callers alike.
pub(crate) fn block_on<F>(future: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    if Handle::try_current().is_err() {
        return runtime().block_on(future);
    }
    // A thread that drives a runtime must not block on another: wait on one that does not.
    std::thread::scope(|scope| match scope.spawn(|| runtime().block_on(future)).join() {
        Ok(output) => output,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
