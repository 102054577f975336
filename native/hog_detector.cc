// dlib's frontal face detector (HOG) as a Node-API addon. Built on the machine that runs it by `orchestrator models
// build-hog`, against Debian's libdlib-dev and the headers of the running Node.js; src/vision/hog-detector.ts loads it.
//
//   detect(rgb: Buffer, width, height, upsample) -> Promise<Float64Array>   5 numbers a face: x, y, w, h, confidence
//
// The search runs on a thread of libuv's pool. Searches of one process take turns: dlib's detector is not thread-safe.
#include <dlib/image_processing/frontal_face_detector.h>
#include <dlib/image_transforms.h>
#include <node_api.h>

#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace {

struct Search {
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
  dlib::array2d<dlib::rgb_pixel> picture;
  uint32_t upsample = 0;
  std::vector<double> faces;
  std::string error;
};

void run(napi_env, void* data) {
  static std::mutex turn;
  static dlib::frontal_face_detector detector = dlib::get_frontal_face_detector();
  auto& search = *static_cast<Search*>(data);
  try {
    const dlib::pyramid_down<2> pyramid;
    for (uint32_t time = 0; time < search.upsample; ++time) dlib::pyramid_up(search.picture, pyramid);
    std::vector<dlib::rect_detection> found;
    {
      const std::lock_guard<std::mutex> lock(turn);
      detector(search.picture, found);
    }
    for (const auto& face : found) {
      const auto rect = pyramid.rect_down(face.rect, search.upsample);
      for (const double value : {double(rect.left()), double(rect.top()), double(rect.width()), double(rect.height()),
                                 face.detection_confidence}) {
        search.faces.push_back(value);
      }
    }
  } catch (const std::exception& error) {
    search.error = error.what();
  }
}

void settle(napi_env env, napi_status, void* data) {
  const std::unique_ptr<Search> search(static_cast<Search*>(data));
  napi_delete_async_work(env, search->work);
  if (!search->error.empty()) {
    napi_value message, error;
    napi_create_string_utf8(env, search->error.c_str(), NAPI_AUTO_LENGTH, &message);
    napi_create_error(env, nullptr, message, &error);
    napi_reject_deferred(env, search->deferred, error);
    return;
  }
  void* bytes = nullptr;
  napi_value buffer, result;
  napi_create_arraybuffer(env, search->faces.size() * sizeof(double), &bytes, &buffer);
  if (!search->faces.empty()) std::memcpy(bytes, search->faces.data(), search->faces.size() * sizeof(double));
  napi_create_typedarray(env, napi_float64_array, search->faces.size(), buffer, 0, &result);
  napi_resolve_deferred(env, search->deferred, result);
}

napi_value detect(napi_env env, napi_callback_info info) {
  size_t count = 4;
  napi_value arguments[4];
  void* pixels = nullptr;
  size_t length = 0;
  uint32_t width = 0, height = 0;
  auto search = std::make_unique<Search>();
  const bool read = napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr) == napi_ok && count == 4 &&
                    napi_get_buffer_info(env, arguments[0], &pixels, &length) == napi_ok &&
                    napi_get_value_uint32(env, arguments[1], &width) == napi_ok &&
                    napi_get_value_uint32(env, arguments[2], &height) == napi_ok &&
                    napi_get_value_uint32(env, arguments[3], &search->upsample) == napi_ok;
  if (!read || length == 0 || length != size_t(width) * height * sizeof(dlib::rgb_pixel)) {
    napi_throw_type_error(env, nullptr, "detect takes a buffer of width * height * 3 bytes, width, height and upsample");
    return nullptr;
  }
  search->picture.set_size(height, width);
  for (uint32_t row = 0; row < height; ++row) {
    std::memcpy(&search->picture[row][0], static_cast<const char*>(pixels) + size_t(row) * width * 3, size_t(width) * 3);
  }
  napi_value promise, name;
  napi_create_promise(env, &search->deferred, &promise);
  napi_create_string_utf8(env, "hog_detector", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, nullptr, name, run, settle, search.get(), &search->work);
  napi_queue_async_work(env, search->work);
  search.release();  // settle() owns it now.
  return promise;
}

napi_value init(napi_env env, napi_value exports) {
  static_assert(sizeof(dlib::rgb_pixel) == 3, "pixels are copied row by row");
  napi_value method;
  napi_create_function(env, "detect", NAPI_AUTO_LENGTH, detect, nullptr, &method);
  napi_set_named_property(env, exports, "detect", method);
  return exports;
}

}  // namespace

NAPI_MODULE(hog_detector, init)
