//! The cache files of one sector as the proofs library names and sizes them.
//!
//! Pure. Sizes follow from the sector size: layers and tree-d hold every node, tree-c and tree-r-last are
//! octrees, split into several files for the large sizes.

use crate::units::SectorSize;

/// Bytes of one tree node, and of one label.
pub const NODE: u64 = 32;

/// Tree of the data, written by PreCommit1.
pub const TREE_D: &str = "sc-02-data-tree-d.dat";

/// Two commitments, written by PreCommit2 and needed for every later proof.
pub const P_AUX: &str = "p_aux";

/// The file of layer `number`, counted from 1.
pub fn layer(number: u32) -> String {
    format!("sc-02-data-layer-{number}.dat")
}

/// The files of tree-c, written by PreCommit2.
pub fn tree_c(size: SectorSize) -> Vec<String> {
    parts("tree-c", size)
}

/// The files of tree-r-last, written by PreCommit2 and kept for proving.
pub fn tree_r_last(size: SectorSize) -> Vec<String> {
    parts("tree-r-last", size)
}

/// Bytes of one layer: as many as the sector has.
pub const fn layer_bytes(size: SectorSize) -> u64 {
    size.bytes().as_u64()
}

/// Bytes of tree-d.
pub const fn tree_d_bytes(size: SectorSize) -> u64 {
    size.bytes().as_u64().saturating_mul(2).saturating_sub(NODE)
}

/// Bytes of one tree-c file.
pub const fn tree_c_bytes(size: SectorSize) -> u64 {
    octree_bytes(octree_rows(size))
}

/// Bytes of one tree-r-last file with the library's default of rows it leaves out.
pub const fn tree_r_last_bytes(size: SectorSize) -> u64 {
    // the leaves and two more rows are not stored; the root always is
    let rows = octree_rows(size).saturating_sub(3);
    octree_bytes(if rows == 0 { 1 } else { rows })
}

/// Whether PreCommit2 writes a file of this name: it goes before PreCommit2 is repeated.
pub fn is_of_precommit2(name: &str) -> bool {
    name == P_AUX
        || name == "t_aux"
        || name.starts_with("sc-02-data-tree-c")
        || name.starts_with("sc-02-data-tree-r-last")
}

/// Whether the library or seald writes files of this name into a sector's cache.
pub fn is_of_sector(name: &str) -> bool {
    // the library's temporary layer ends in two dots and `tmp`
    name == TREE_D || name.starts_with("sc-02-data-layer-") || is_of_precommit2(name)
}

/// Whether a file of this name is only needed until the proof of replication is on chain.
pub fn is_trimmed(name: &str) -> bool {
    name == TREE_D || name.starts_with("sc-02-data-tree-c") || name.starts_with("sc-02-data-layer-")
}

const fn trees(size: SectorSize) -> u32 {
    match size {
        SectorSize::KiB2 | SectorSize::MiB8 | SectorSize::MiB512 => 1,
        SectorSize::GiB32 => 8,
        SectorSize::GiB64 => 16,
    }
}

/// Rows of one tree file, leaves and root included.
const fn octree_rows(size: SectorSize) -> u32 {
    match size {
        SectorSize::KiB2 => 3,
        SectorSize::MiB8 => 7,
        SectorSize::MiB512 => 9,
        SectorSize::GiB32 | SectorSize::GiB64 => 10,
    }
}

const fn octree_bytes(rows: u32) -> u64 {
    8u64.pow(rows).saturating_sub(1) / 7 * NODE
}

fn parts(tree: &str, size: SectorSize) -> Vec<String> {
    match trees(size) {
        1 => vec![format!("sc-02-data-{tree}.dat")],
        many => (0..many).map(|part| format!("sc-02-data-{tree}-{part}.dat")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_the_library_writes() {
        let all = SectorSize::ALL.map(|size| (tree_d_bytes(size), tree_c_bytes(size), tree_r_last_bytes(size)));
        assert_eq!(
            all,
            [
                (4_064, 2_336, 32),
                (16_777_184, 9_586_976, 18_720),
                (1_073_741_792, 613_566_752, 1_198_368),
                (68_719_476_704, 4_908_534_048, 9_586_976),
                (137_438_953_440, 4_908_534_048, 9_586_976),
            ]
        );
    }

    #[test]
    fn nothing_that_proving_needs_is_trimmed() {
        for kept in tree_r_last(SectorSize::GiB32).iter().map(String::as_str).chain([P_AUX, "t_aux"]) {
            assert!(!is_trimmed(kept) && is_of_precommit2(kept) && is_of_sector(kept), "{kept}");
        }
        assert_eq!(tree_c(SectorSize::GiB64).len(), 16);
    }
}
