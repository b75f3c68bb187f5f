#include "ppcls/inputs.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>

#include "ppcls/error.h"
#include "ppcls/image.h"
#include "text.h"

namespace ppcls {

namespace {

namespace fs = std::filesystem;
using detail::path_in;
using detail::suffix_of;

constexpr std::uintmax_t kMaxListBytes = std::uintmax_t{1} << 30;
constexpr std::size_t kMaxLineBytes = std::size_t{1} << 20;

/// Files and folders that operating systems and file servers add to folders, in lower case.
const std::set<std::string> kSystemNames = {"__macosx",    "@eadir",
                                            "#recycle",    "$recycle.bin",
                                            "recycler",    "system volume information",
                                            "lost+found",  "thumbs.db",
                                            "ehthumbs.db", "desktop.ini"};

bool is_ignored(const std::string& name) {
  std::string lower = name;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name[0] == '.' || kSystemNames.count(lower) != 0;
}

bool is_folder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

/// Return the paths in a folder, the last by name first.
std::vector<std::string> entries(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!is_ignored(name)) names.push_back(name);
  }
  if (error) throw DataError(folder + ": cannot read the folder: " + std::strerror(error.value()));
  std::sort(names.rbegin(), names.rend());
  for (auto& name : names) name = path_in(folder, name);
  return names;
}

void refuse_loop(const std::string& link) {
  std::error_code error;
  const std::string real = fs::canonical(link, error).string();
  const std::string parent = fs::canonical(fs::path(link).parent_path(), error).string();
  if (parent == real || real == "/" || parent.rfind(real + "/", 0) == 0) {
    throw DataError(link + ": a link to " + real + ", which holds it; remove the link");
  }
}

/// Return the image files below a folder. Links are followed, and each folder is read once.
std::vector<Input> from_folder(const std::string& folder) {
  std::vector<Input> found;
  std::set<std::string> seen;
  std::error_code error;
  std::vector<std::string> waiting{folder};
  while (!waiting.empty()) {
    const std::string at = waiting.back();
    waiting.pop_back();
    if (!is_folder(at)) {
      if (has_image_suffix(at)) found.push_back({at, {}});
      continue;
    }
    if (at != folder && fs::is_symlink(at, error)) refuse_loop(at);
    const auto inside = entries(at);
    if (seen.insert(fs::canonical(at, error).string()).second) {
      waiting.insert(waiting.end(), inside.begin(), inside.end());
    }
  }
  if (found.empty()) {
    throw DataError(folder + ": no images in this folder (looked for " + image_suffixes() + ")");
  }
  return found;
}

/// Return the label that ends a line: a class, or `0,1,0`; nothing if it is none.
std::vector<long> parse_label(const std::string& text) {
  const bool is_number =
      !text.empty() && text.find_first_not_of("0123456789", text[0] == '-') == text.npos;
  if (is_number && text != "-" && text.size() <= 18U + (text[0] == '-')) return {std::stol(text)};
  std::vector<long> flags;
  if (text.size() < 3 || text.size() % 2 == 0) return {};
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_flag = text[i] == '0' || text[i] == '1';
    if (i % 2 == 0 ? !is_flag : text[i] != ',') return {};
    if (i % 2 == 0) flags.push_back(text[i] - '0');
  }
  return flags;
}

Input parse_line(const std::string& folder, const std::string& line) {
  std::error_code error;
  const auto end = line.find_last_of(" \t");
  if (end != line.npos) {
    const auto last = line.find_last_not_of(" \t", end);
    const auto label = parse_label(line.substr(end + 1));
    if (last != line.npos && !label.empty() && !fs::exists(path_in(folder, line), error)) {
      return {path_in(folder, line.substr(0, last + 1)), label};
    }
  }
  return {path_in(folder, line), {}};
}

/// Read the next line, which ends with LF, CR LF or CR; false at the end of the file.
bool next_line(std::istream& file, std::string& line) {
  line.clear();
  int c = file.get();
  if (c == EOF) return false;
  for (; c != EOF && c != '\n' && c != '\r'; c = file.get()) {
    line += static_cast<char>(c);
    if (line.size() > kMaxLineBytes) return true;
  }
  if (c == '\r' && file.peek() == '\n') file.get();
  return true;
}

void refuse_several(const std::string& path, const std::string& where) {
  const std::string suffix = suffix_of(path);
  const bool is_list = suffix == ".txt" || suffix == ".csv" || suffix == ".jsonl";
  if (has_image_suffix(path) || !(is_list || is_folder(path))) return;
  throw DataError(where + ": " + path + " is " + (is_list ? "another list" : "a folder") +
                  "; every line names one image (name folders and lists on the command line)");
}

std::vector<Input> from_list(const std::string& list) {
  std::error_code error;
  if (fs::file_size(list, error) > kMaxListBytes) {
    throw DataError(list + ": cannot read the image list: larger than 1024 MiB");
  }
  errno = 0;
  std::ifstream file(list, std::ios::binary);
  if (!file) {
    throw DataError(list + ": cannot read the image list: " + std::strerror(errno));
  }
  const std::string folder = fs::path(list).parent_path().string();
  std::vector<Input> inputs;
  std::string line;
  for (int number = 1; next_line(file, line); ++number) {
    const std::string where = list + ":" + std::to_string(number);
    if (line.size() > kMaxLineBytes) {
      throw DataError(where + ": the line is longer than 1 MiB; is this an image list?");
    }
    if (number == 1 && line.rfind("\xEF\xBB\xBF", 0) == 0) line.erase(0, 3);
    const auto odd = detail::valid_utf8(line);
    if (odd != line.size()) {
      throw DataError(where + ": the image list is not UTF-8 (byte " + std::to_string(odd) + ")");
    }
    line = detail::right_stripped(line);
    if (line.empty()) continue;
    inputs.push_back(parse_line(folder.empty() ? "." : folder, line));
    refuse_several(inputs.back().path, where);
  }
  if (inputs.empty()) throw DataError(list + ": the image list is empty");
  return inputs;
}

std::vector<Input> from_name(const std::string& name) {
  std::error_code error;
  const std::string path = detail::plain_path(name);
  const bool is_name = path.find('\0') == path.npos;
  if (is_name && is_folder(path)) return from_folder(path);
  if (is_name && suffix_of(path) == ".txt" && fs::is_regular_file(path, error)) {
    return from_list(path);
  }
  if (is_name && fs::exists(path, error)) return {{path, {}}};
  const bool is_link = is_name && fs::is_symlink(path, error);
  const std::string target = is_link ? fs::read_symlink(path, error).string() : "";
  throw DataError(name + ": no such file or folder" +
                  (is_link ? " (a link to " + target + ")" : ""));
}

}  // namespace

std::vector<Input> find_inputs(const std::vector<std::string>& names) {
  std::vector<Input> inputs;
  for (const auto& name : names) {
    auto found = from_name(name);
    inputs.insert(inputs.end(), std::make_move_iterator(found.begin()),
                  std::make_move_iterator(found.end()));
  }
  return inputs;
}

}  // namespace ppcls
