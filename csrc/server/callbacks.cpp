#include "server/callbacks.h"

namespace bebr {
namespace {

// Nothing may be thrown through a library in C: a connection that has no memory ends.
template <typename Work>
int guarded(const Work& work) noexcept {
  try {
    return work();
  } catch (const std::exception&) {
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
}
template <typename Work>
int done(const Work& work) noexcept {
  return guarded([&] {
    work();
    return 0;
  });
}
std::string_view text(const uint8_t* bytes, size_t size) { return {reinterpret_cast<const char*>(bytes), size}; }

}  // namespace

ssize_t Callbacks::read(nghttp2_session*, int32_t id, uint8_t* to, size_t size, uint32_t* flags, nghttp2_data_source*,
                        void* user) {
  ssize_t taken = 0;
  const int failed = done([&] { taken = of(user).read_out(id, to, size, flags); });
  return failed != 0 ? failed : taken;
}

Callbacks::Callbacks() {
  nghttp2_session_callbacks_new(&all);
  nghttp2_session_callbacks_set_on_begin_headers_callback(
      all, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
        return guarded([&] { return of(user).begin_headers(*frame); });
      });
  nghttp2_session_callbacks_set_on_header_callback(
      all, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size, const uint8_t* value,
              size_t value_size, uint8_t, void* user) {
        return guarded([&] { return of(user).header(*frame, text(name, name_size), text(value, value_size)); });
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(all,
                                                       [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
                                                         return done([&] { of(user).frame_received(*frame); });
                                                       });
  nghttp2_session_callbacks_set_on_frame_send_callback(all,
                                                       [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
                                                         return done([&] { of(user).frame_sent(*frame); });
                                                       });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      all, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
        return done([&] { of(user).data(id, text(data, size)); });
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(
      all,
      [](nghttp2_session*, int32_t id, uint32_t code, void* user) { return done([&] { of(user).closed(id, code); }); });
  nghttp2_option_new(&options);
  nghttp2_option_set_no_auto_window_update(options, 1);  // bytes count until they have been passed on
  nghttp2_option_set_max_settings(options, 32);
  // A blank at the end of a header is for the server behind to judge: it has words for a key that is none.
  nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(options, 1);
}

const Callbacks& Callbacks::shared() {
  static const Callbacks made;
  return made;
}

}  // namespace bebr
