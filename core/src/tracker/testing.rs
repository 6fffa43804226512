//! A small world for tests.
