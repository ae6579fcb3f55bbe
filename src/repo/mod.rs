//! Storage repos on disk: layout, marker, lock, space.
