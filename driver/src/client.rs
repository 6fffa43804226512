//! A client: an engine on a runtime, and the handles to it.

mod add;
mod builder;
mod dht;
mod handle;
mod listen;
mod source;

pub use self::add::AddOptions;
pub use self::builder::ClientBuilder;
pub use self::handle::Client;
pub use self::source::Source;
