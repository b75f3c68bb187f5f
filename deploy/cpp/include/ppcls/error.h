// Errors: every message is one line that names the file, what was found and what was expected.
#pragma once

#include <stdexcept>
#include <string>

namespace ppcls {

/// Base of all errors that ppcls raises on purpose.
///
/// `exit_status` is that of the program: 1 for data, bundles and run time, 2 for usage.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, int exit_status = 1)
      : std::runtime_error(message), exit_status_(exit_status) {}

  int exit_status() const { return exit_status_; }

 private:
  int exit_status_;
};

/// The arguments are invalid.
class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& message) : Error(message, 2) {}
};

/// A list or a folder of images cannot be used.
class DataError : public Error {
 public:
  using Error::Error;
};

/// A bundle is incomplete, changed, or not made by ppcls.
class BundleError : public Error {
 public:
  using Error::Error;
};

/// The predictor cannot go on: no such device, or the network's output is invalid.
class RunError : public Error {
 public:
  using Error::Error;
};

/// One image cannot be read; the message names the image and the reason.
class ImageError : public DataError {
 public:
  /// Args:
  ///   reason: why it cannot be read.
  ///   source: its path or a description; may be empty.
  ///   recognised: the format that its first bytes indicate; may be empty.
  ImageError(const std::string& reason, const std::string& source, const std::string& recognised)
      : DataError((source.empty() ? "" : source + ": ") + reason +
                  (recognised.empty() ? "" : " (recognised as " + recognised + ")")) {}
};

}  // namespace ppcls
