// The images that names on a command line stand for.
#pragma once

#include <string>
#include <vector>

namespace ppcls {

/// An image file, and its label if a list states one: a class, or 0 and 1 for each class.
struct Input {
  std::string path;
  std::vector<long> label;
};

/// Return the images that the names stand for, in the order given: files, folders (searched
/// recursively by suffix, sorted by name; hidden files and those of operating systems are left out)
/// and `.txt` lists of `path` or `path label` lines relative to the list.
///
/// Raises DataError: a name stands for no image, a folder or list cannot be read, or a list has a
/// folder or another list in it.
std::vector<Input> find_inputs(const std::vector<std::string>& names);

}  // namespace ppcls
