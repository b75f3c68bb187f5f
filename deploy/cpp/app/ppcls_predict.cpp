// ppcls_predict: predict with an exported model, as `ppcls predict` does.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>

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

std::string row(const ppcls::Result& result) {
  if (result.error) return result.source + "  error: " + *result.error;
  std::string out = result.source + "  ";
  for (std::size_t i = 0; i < result.scores.size(); ++i) {
    char score[32];
    std::snprintf(score, sizeof(score), " %.3f", result.scores[i]);
    out += (i == 0 ? "" : "  ") + result.label_names[i] + score;
  }
  return out;
}

int predict(const Arguments& arguments) {
  const auto inputs = ppcls::find_inputs(arguments.inputs);
  const ppcls::Predictor predictor(arguments.bundle, arguments.options);
  std::cerr << "backend  " << predictor.description() << "\n";
  const auto classes = static_cast<long>(predictor.bundle().labels.size());
  std::vector<ppcls::Source> sources;
  sources.reserve(inputs.size());
  for (const auto& input : inputs) {
    if (input.label && (*input.label < 0 || *input.label >= classes)) {
      throw ppcls::DataError(input.path + ": label " + std::to_string(*input.label) +
                             " in its list, but the model has labels 0.." +
                             std::to_string(classes - 1));
    }
    sources.push_back(ppcls::Source::path(input.path));
  }
  const bool as_table = arguments.format == "table";
  std::size_t count = 0;
  std::size_t failed = 0;
  std::size_t labelled = 0;
  std::size_t right = 0;
  const auto start = std::chrono::steady_clock::now();
  predictor.predict(sources, [&](const ppcls::Result& result) {
    const auto& input = inputs[count++];
    failed += result.error.has_value();
    if (input.label && !result.error) {
      ++labelled;
      right += !result.class_ids.empty() && result.class_ids.front() == *input.label;
    }
    if (!arguments.benchmark) std::cout << (as_table ? row(result) : result.to_json()) << "\n";
  });
  std::cout.flush();
  if (!std::cout) throw ppcls::RunError("standard output: cannot write");
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  if (arguments.benchmark) {
    std::printf("{\"images\": %zu, \"seconds\": %.4f, \"images_per_second\": %.2f}\n", count,
                took.count(), static_cast<double>(count) / took.count());
  }
  if (labelled != 0) {
    std::fprintf(stderr, "top-1 %.5f: %zu of %zu images match the label of their list\n",
                 static_cast<double>(right) / static_cast<double>(labelled), right, labelled);
  }
  if (failed != 0) {
    std::fprintf(stderr, "%zu of %zu images could not be read\n", failed, count);
  }
  return failed != 0 ? 1 : 0;
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
  app.add_option("--threshold", options.threshold, "leave out classes with a lower score")
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
  try {
    return predict(arguments);
  } catch (const ppcls::Error& error) {
    std::cout.flush();
    std::cerr << "ppcls_predict: error: " << error.what() << "\n";
    return error.exit_status();
  } catch (const std::exception& error) {
    std::cout.flush();
    std::cerr << "ppcls_predict: error: " << error.what() << "\n";
    return 1;
  }
}
