//! What a container may do: capabilities, profiles, privileges, hidden paths.
