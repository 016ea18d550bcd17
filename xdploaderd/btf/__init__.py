"""BTF: types as values, blobs indexed lazily, and .BTF.ext; pure."""
