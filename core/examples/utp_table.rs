//! Writes the table of how uTP fares on links in virtual time, which is kept in `docs/utp-table.md`:
//!
//! ```sh
//! cargo run --release -p anabranch-core --example utp_table > docs/utp-table.md
//! ```

#[path = "../tests/link/mod.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod link;
#[path = "../tests/link/table.rs"]
#[allow(dead_code, reason = "a test compares the rows that take no time")]
mod table;

fn main() {
    table::all(|text| print!("{text}"));
}
