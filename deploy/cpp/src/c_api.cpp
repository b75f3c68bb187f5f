#include <algorithm>
#include <exception>
#include <string>

#include "ppcls/error.h"
#include "ppcls/ppcls.h"
#include "ppcls/predictor.h"
#include "text.h"

struct ppcls_predictor {
  ppcls::Predictor predictor;
};

namespace {

thread_local std::string last_error;

/// Call a function; on an exception, keep its message and return `otherwise`.
template <typename T, typename F>
T guarded(T otherwise, const F& call) noexcept {
  try {
    last_error.clear();
    return call();
  } catch (const std::exception& error) {
    last_error = ppcls::detail::printable(error.what());
  } catch (...) {
    last_error = "unknown error";
  }
  return otherwise;
}

int predict(ppcls_predictor* predictor, ppcls::Source source, ppcls_class* classes, int room) {
  if (predictor == nullptr) throw ppcls::ConfigError("the predictor is NULL");
  if (classes == nullptr || room < 1) throw ppcls::ConfigError("there is no room for a class");
  const auto results = predictor->predictor.predict({std::move(source)});
  const auto& result = results.front();
  if (result.error) throw ppcls::DataError(*result.error);
  const auto& labels = predictor->predictor.bundle().labels;
  const int count = std::min(room, static_cast<int>(result.class_ids.size()));
  for (int i = 0; i < count; ++i) {
    const int id = result.class_ids[i];
    classes[i] = {id, result.scores[i], labels[id].c_str()};
  }
  return count;
}

}  // namespace

ppcls_predictor* ppcls_open(const char* folder, const char* backend, int threads) {
  return guarded<ppcls_predictor*>(nullptr, [&] {
    if (folder == nullptr) throw ppcls::ConfigError("the folder is NULL");
    ppcls::PredictorOptions options;
    if (backend != nullptr) options.backend = backend;
    options.threads = threads;
    return new ppcls_predictor{ppcls::Predictor(folder, options)};
  });
}

void ppcls_close(ppcls_predictor* predictor) { delete predictor; }

int ppcls_predict(ppcls_predictor* predictor, const char* path, ppcls_class* classes, int room) {
  return guarded(-1, [&] {
    if (path == nullptr) throw ppcls::ConfigError("the path is NULL");
    return predict(predictor, ppcls::Source::path(path), classes, room);
  });
}

int ppcls_predict_bytes(ppcls_predictor* predictor, const void* data, size_t size,
                        ppcls_class* classes, int room) {
  return guarded(-1, [&] {
    const auto* bytes = static_cast<const std::uint8_t*>(data);
    if (bytes == nullptr) throw ppcls::ConfigError("the data are NULL");
    return predict(predictor,
                   ppcls::Source::bytes({bytes, bytes + size}, std::to_string(size) + " bytes"),
                   classes, room);
  });
}

const char* ppcls_last_error(void) { return last_error.c_str(); }
