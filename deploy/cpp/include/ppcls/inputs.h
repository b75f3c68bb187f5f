// The images that names on a command line stand for.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace ppcls {

/// An image file, and its class if a list states one.
struct Input {
  std::string path;
  std::optional<long> label;
};

/// Return the images that the names stand for, in the order given: files, folders (searched
/// recursively by suffix) and `.txt` lists of `path` or `path label` lines relative to the list.
///
/// Raises DataError: a name stands for no image, or a list cannot be read.
std::vector<Input> find_inputs(const std::vector<std::string>& names);

}  // namespace ppcls
