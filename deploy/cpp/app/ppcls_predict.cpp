// ppcls_predict: predict with an exported model, as `ppcls predict` does.
#ifdef _WIN32
#include <io.h>
#else
#include <unistd.h>
#endif

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <optional>

#include "../src/text.h"
#include "ppcls/error.h"
#include "ppcls/inputs.h"
#include "ppcls/predictor.h"

namespace {

struct Arguments {
  std::string bundle;
  std::vector<std::string> inputs;
  ppcls::PredictorOptions options;
  std::string format = "auto";
  bool benchmark = false;
};

bool is_terminal() {
#ifdef _WIN32
  return _isatty(_fileno(stdout)) != 0;
#else
  return isatty(STDOUT_FILENO) != 0;
#endif
}

/// Print one line to standard error, as Python's commands do.
void say(const std::string& text) { std::cerr << ppcls::detail::printable(text) << "\n"; }

std::string row(const ppcls::Result& result) {
  if (result.error) return result.source + "  error: " + *result.error;
  std::string out = result.source + "  ";
  if (result.scores.empty()) out += "nothing above the threshold";
  for (std::size_t i = 0; i < result.scores.size(); ++i) {
    char score[32];
    std::snprintf(score, sizeof(score), " %.3f", result.scores[i]);
    out += (i == 0 ? "" : "  ") + result.label_names[i] + score;
  }
  return out;
}

/// Return the classes that a list states for an image, in order.
std::vector<int> truth_of(const ppcls::Input& input, const ppcls::Bundle& bundle) {
  const auto& label = input.label;
  std::string text;
  for (const long flag : label) text += (text.empty() ? "" : ",") + std::to_string(flag);
  const auto classes = static_cast<long>(bundle.labels.size());
  const std::string where = input.path + ": label " + text + " in its list, but the ";
  if (!bundle.multi_label) {
    if (label.size() > 1) throw ppcls::DataError(where + "model gives an image one class");
    if (label[0] < 0 || label[0] >= classes) {
      throw ppcls::DataError(where + "model has labels 0.." + std::to_string(classes - 1));
    }
    return {static_cast<int>(label[0])};
  }
  const bool are_flags =
      std::all_of(label.begin(), label.end(), [](long flag) { return flag == 0 || flag == 1; });
  if (!are_flags || static_cast<long>(label.size()) != classes) {
    throw ppcls::DataError(where + "multi-label model needs 0 or 1 for each of its " +
                           std::to_string(classes) + " classes, as in 0,1,0");
  }
  std::vector<int> truth;
  for (std::size_t i = 0; i < label.size(); ++i) {
    if (label[i] == 1) truth.push_back(static_cast<int>(i));
  }
  return truth;
}

/// Counts of the predictions.
struct Tally {
  std::size_t count = 0;
  std::size_t failed = 0;
  std::size_t not_finite = 0;
  std::size_t labelled = 0;
  std::size_t right = 0;

  void add(const ppcls::Result& result, const std::optional<std::vector<int>>& truth,
           bool multi_label) {
    ++count;
    if (result.error) {
      ++failed;
      not_finite += *result.error == ppcls::kNotFinite;
      return;
    }
    if (!truth) return;
    std::vector<int> found = result.class_ids;
    if (multi_label) {
      std::sort(found.begin(), found.end());
    } else if (!found.empty()) {
      found.resize(1);
    }
    ++labelled;
    right += found == *truth;
  }

  void report(bool multi_label) const {
    const std::string all = " of " + std::to_string(count) + " images";
    if (labelled != 0) {
      std::fprintf(
          stderr, "%s %.5f: %zu of %zu images %s\n", multi_label ? "exact match" : "top-1",
          static_cast<double>(right) / static_cast<double>(labelled), right, labelled,
          multi_label ? "have exactly the classes of their list" : "match the label of their list");
    }
    if (failed != not_finite) {
      say(std::to_string(failed - not_finite) + all + " could not be read");
    }
    if (not_finite != 0) say(std::to_string(not_finite) + all + ": " + ppcls::kNotFinite);
  }
};

/// Raise RunError if standard output takes no more; without a message if its reader has exited.
void require_output() {
  std::cout.flush();
  if (std::cout) return;
  if (errno == EPIPE) throw ppcls::RunError("");
  throw ppcls::RunError(std::string("standard output: cannot write: ") + std::strerror(errno));
}

int predict(const Arguments& arguments) {
  auto inputs = ppcls::find_inputs(arguments.inputs);
  const ppcls::Predictor predictor(arguments.bundle, arguments.options);
  const auto& bundle = predictor.bundle();
  say("backend  " + predictor.description());
  std::vector<ppcls::Source> sources;
  std::vector<std::optional<std::vector<int>>> truths;
  for (auto& input : inputs) {
    truths.emplace_back();
    if (!input.label.empty()) truths.back() = truth_of(input, bundle);
    sources.push_back(ppcls::Source::path(std::move(input.path)));
  }
  const bool as_table =
      arguments.format == "table" || (arguments.format == "auto" && is_terminal());
  Tally tally;
  const auto start = std::chrono::steady_clock::now();
  predictor.predict(sources, [&](const ppcls::Result& result) {
    tally.add(result, truths[tally.count], bundle.multi_label);
    if (arguments.benchmark) return;
    std::cout << (as_table ? ppcls::detail::printable(row(result)) : result.to_json()) << "\n";
    if (!std::cout) require_output();
  });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  if (arguments.benchmark) {
    std::cout << "{\"images\": " << tally.count << ", \"seconds\": " << took.count()
              << ", \"images_per_second\": " << static_cast<double>(tally.count) / took.count()
              << "}\n";
  }
  require_output();
  tally.report(bundle.multi_label);
  return tally.failed != 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  Arguments arguments;
  auto& options = arguments.options;
  CLI::App app("Predict with an exported model.", "ppcls_predict");
  app.footer(
      "examples:\n"
      "  ppcls_predict output/digits/inference digits/7/0017.png\n"
      "  ppcls_predict output/digits/inference digits/val_list.txt --format table\n"
      "  ppcls_predict output/digits/inference photos --threads 1 --benchmark");
  app.add_option("BUNDLE", arguments.bundle, "a folder written by `ppcls export`")->required();
  app.add_option("INPUT", arguments.inputs,
                 "an image, a folder, or a .txt list of images, with or without labels")
      ->required();
  app.add_option("--backend", options.backend, "inference backend (default: the first that fits)");
  app.add_option("--device", options.device)->check(CLI::IsMember({"auto", "cpu", "gpu"}));
  app.add_option("--batch-size,--batch", options.batch_size, "images per inference (default: 32)")
      ->check(CLI::PositiveNumber);
  app.add_option("--threads", options.threads, "CPU threads of one inference (default: all cores)")
      ->check(CLI::PositiveNumber);
  app.add_option("--workers", options.workers,
                 "threads that read and transform images (default: all cores)")
      ->check(CLI::PositiveNumber);
  app.add_option("--topk", options.topk, "classes per image")->check(CLI::PositiveNumber);
  app.add_option("--threshold", options.threshold,
                 "leave out classes with a lower score; a multi-label model gives those above it "
                 "(default: the thresholds of the export)")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--format", arguments.format, "table or jsonl (default)")
      ->check(CLI::IsMember({"auto", "table", "jsonl"}));
  app.add_flag("--benchmark", arguments.benchmark,
               "print only the number of images, the seconds and images per second");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
#ifdef SIGPIPE
  std::signal(SIGPIPE, SIG_IGN);
#endif
  const auto fail = [](const std::string& why) {
    if (!why.empty()) say("ppcls_predict: error: " + why);
  };
  try {
    return predict(arguments);
  } catch (const ppcls::Error& error) {
    std::cout.flush();
    fail(error.what());
    return error.exit_status();
  } catch (const std::bad_alloc&) {
    fail("not enough memory");
  } catch (const std::exception& error) {
    fail(error.what());
  }
  return 1;
}
