#include "ppcls/inputs.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "ppcls/error.h"
#include "ppcls/image.h"

namespace ppcls {

namespace {

namespace fs = std::filesystem;

/// Larger lists are no lists of images.
constexpr std::uintmax_t kMaxListBytes = std::uintmax_t{1} << 30;

std::vector<Input> from_folder(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  const auto how = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator at(folder, how, error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name[0] == '.') {
      if (at->is_directory(error)) at.disable_recursion_pending();
      continue;
    }
    if (has_image_suffix(name) && at->is_regular_file(error)) found.push_back(at->path());
  }
  if (error) throw DataError(folder.string() + ": cannot be read: " + error.message());
  if (found.empty()) throw DataError(folder.string() + ": no images in this folder");
  std::sort(found.begin(), found.end());  // part by part, as Python sorts paths
  std::vector<Input> inputs;
  inputs.reserve(found.size());
  for (const auto& path : found) inputs.push_back({path.string(), std::nullopt});
  return inputs;
}

/// Split `path label`; nothing if the line does not end in an integer.
std::optional<Input> labelled(const std::string& line) {
  const auto last = line.find_last_not_of("0123456789");
  if (last == line.npos || last + 1 == line.size()) return std::nullopt;
  auto start = last + 1;
  if (line[last] == '-') --start;
  if (start == 0 || line.size() - start > 18) return std::nullopt;
  const auto end = line.find_last_not_of(" \t", start - 1);
  if (end == line.npos || end + 1 == start) return std::nullopt;
  return Input{line.substr(0, end + 1), std::stol(line.substr(start))};
}

std::vector<Input> from_list(const fs::path& list) {
  std::error_code error;
  if (fs::file_size(list, error) > kMaxListBytes || error) {
    throw DataError(list.string() + ": cannot read the image list");
  }
  std::ifstream file(list);
  std::vector<Input> inputs;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (number == 1 && line.rfind("\xEF\xBB\xBF", 0) == 0) line.erase(0, 3);
    line.erase(line.find_last_not_of(" \t\r\n\v\f") + 1);
    if (line.empty()) continue;
    const fs::path folder = list.parent_path();
    Input one{(folder / line).string(), std::nullopt};
    const auto with_label = labelled(line);
    if (with_label && !fs::exists(one.path, error)) {
      one = {(folder / with_label->path).string(), with_label->label};
    }
    const bool is_folder = !has_image_suffix(one.path) && fs::is_directory(one.path, error);
    const std::string suffix = fs::path(one.path).extension().string();
    if (is_folder || suffix == ".txt" || suffix == ".csv" || suffix == ".jsonl") {
      throw DataError(list.string() + ":" + std::to_string(number) + ": " + one.path + " is " +
                      (is_folder ? "a folder" : "another list") +
                      "; every line names one image (name folders and lists on the command line)");
    }
    inputs.push_back(std::move(one));
  }
  if (inputs.empty()) throw DataError(list.string() + ": the image list is empty");
  return inputs;
}

}  // namespace

std::vector<Input> find_inputs(const std::vector<std::string>& names) {
  std::vector<Input> inputs;
  for (const auto& name : names) {
    std::error_code error;
    const fs::path path(name);
    std::vector<Input> found;
    if (fs::is_directory(path, error)) {
      found = from_folder(path);
    } else if (path.extension() == ".txt" && fs::is_regular_file(path, error)) {
      found = from_list(path);
    } else if (fs::exists(path, error)) {
      found = {{name, std::nullopt}};
    } else {
      throw DataError(name + ": no such file or folder");
    }
    inputs.insert(inputs.end(), std::make_move_iterator(found.begin()),
                  std::make_move_iterator(found.end()));
  }
  return inputs;
}

}  // namespace ppcls
