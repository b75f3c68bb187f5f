// Catch2, version 3 or 2, and the folders of the tests.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <filesystem>
#include <fstream>
#include <random>
#include <string>

inline std::string vectors(const std::string& name) {
  return std::string(PPCLS_VECTORS) + "/" + name;
}

inline std::string bundle(const std::string& name) { return vectors("bundles/" + name); }

inline std::string image(const std::string& name) { return vectors("images/" + name); }

/// A folder that is removed at the end of the test.
class Folder {
 public:
  Folder() {
    static int count = 0;
    path_ =
        std::filesystem::temp_directory_path() /
        ("ppcls-test-" + std::to_string(std::random_device()()) + "-" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }

  /// Write a file, and the folders above it.
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
    return (path_ / name).string();
  }

 private:
  std::filesystem::path path_;
};

inline std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Return the message of the error that a call raises; empty if there is none.
template <typename F>
std::string error_of(const F& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}
