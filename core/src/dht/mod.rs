//! The distributed hash table.
mod address;
mod bloom;
pub mod item;
mod limiter;
mod lookup;
mod node_id;
mod store;
mod table;
mod token;
