// Text as Python shows it: names in messages, paths, JSON.
#pragma once

#include <string>
#include <vector>

namespace ppcls::detail {

/// Return the parts joined by a separator.
std::string joined(const std::vector<std::string>& words, const char* separator);

/// Return one line: the text with line breaks as blanks.
std::string one_line(std::string text);

/// Return the place of the first byte that is not UTF-8, or the length of the text.
std::size_t valid_utf8(const std::string& text, std::size_t from = 0);

/// Return text for a terminal: control characters, line breaks and marks of the writing direction
/// are escapes (`\x1b`), bytes that are not UTF-8 are `\udce9`.
std::string printable(const std::string& text);

/// Return text as a JSON string; bytes that are not UTF-8 are `\udce9`.
std::string quoted(const std::string& text);

/// Return a path as Python's `pathlib` writes it: `a//./b/` is `a/b`. `~` is the home folder.
std::string plain_path(const std::string& path);

/// Return a path in a folder, as `plain_path`; an absolute path replaces the folder.
std::string path_in(const std::string& folder, const std::string& name);

/// Return the name after the last slash.
std::string name_of(const std::string& path);

/// Return the suffix of a file name in lower case, with its dot; empty if it has none.
std::string suffix_of(const std::string& path);

/// Return text without the white space, ASCII and Unicode, at its end.
std::string right_stripped(std::string text);

}  // namespace ppcls::detail
