#include "index/ivf/merge.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "index/format_file.h"
#include "index/ivf/chunk.h"
#include "index/ivf/sections.h"

namespace bebr {
namespace {

constexpr size_t kMostHeld = 1 << 20;  // slots held before they are written
constexpr size_t kFewestHeld = 1 << 10;
constexpr size_t kBuckets = 1 << 16;  // of ids out of order

class Merge {
 public:
  explicit Merge(const MergeJob& job)
      : job_(job), format_(job.format), raw_(job.raw.dim > 0), entries_(job.centroids.size()) {
    const auto lists = static_cast<uint32_t>(entries_.size());
    for (const std::string& path : job.chunks) {
      chunks_.push_back(Chunk::open(path, format_, lists, raw_ ? job.raw.stride() : 0));
      for (uint32_t l = 0; l < lists; ++l) entries_[l].rows += chunks_.back().counts()[l];
      chunks_.back().release();
    }
    for (ListEntry& e : entries_) {
      e.first = slots_;
      rows_ += e.rows;
      slots_ = round_up(slots_ + e.rows, kBlockRows);
    }
    if (slots_ > kMostSlots)
      fail(ErrorCode::LimitExceeded, std::to_string(slots_) + " slots in " + std::to_string(lists) +
                                         " lists: a file has at most " + std::to_string(kMostSlots));
  }

  void write(const std::string& path) {
    const FormatSections sections(format_, slots_);
    const CentroidHeader coarse = {job_.centroids.dim(), static_cast<uint32_t>(entries_.size()),
                                   job_.centroids.by_product() ? 1u : 0u, 0};
    std::vector<Section> head, tail;
    sections.add_to(head);
    tail.push_back({"coarse", bytes_of(&coarse, sizeof coarse)});
    tail.push_back({"centroids", bytes_of(job_.centroids.values().data(), job_.centroids.values().size_bytes())});
    tail.push_back({"lists", bytes_of(entries_.data(), entries_.size() * sizeof(ListEntry))});
    std::vector<FileWriter::Planned> planned;
    const auto plan = [&planned](std::span<const Section> whole) {
      for (const Section& s : whole) planned.push_back({s.name, s.bytes.size()});
    };
    const uint64_t width = format_.code.bytes;
    plan(head);
    planned.push_back({"blocks", slots_ * format_.spec.groups()});
    planned.push_back({"rest", slots_ * format_.spec.rest_bytes()});
    planned.push_back({"factors", format_.factor == Factor::None ? 0 : slots_ * width});
    planned.push_back({"stage", format_.stage_factor ? slots_ * width : 0});
    planned.push_back({"ids", slots_ * sizeof(int64_t)});
    plan(tail);
    planned.push_back({"by_id", rows_ * sizeof(uint32_t)});
    plan(job_.extra);
    const RawHead raw_head = {job_.raw.dim, static_cast<uint32_t>(job_.raw.type), rows_};
    if (raw_) {
      planned.push_back({"raw", sizeof raw_head});
      planned.push_back({"raw_rows", rows_ * job_.raw.stride()});
      planned.push_back({"raw_ids", rows_ * sizeof(int64_t)});
      planned.push_back({"raw_by_id", rows_ * sizeof(uint32_t)});
    }
    FileWriter writer(path, "ivf", planned);
    for (const std::span<const Section> whole :
         {std::span<const Section>(head), std::span<const Section>(tail), job_.extra})
      for (const Section& s : whole) writer.append(s.name, s.bytes);
    if (raw_) writer.append("raw", bytes_of(&raw_head, sizeof raw_head));
    // First, for it finds ids that come twice.
    (ascending() ? write_places(writer) : sort_places(writer));
    write_rows(writer);
    if (raw_) write_raw(writer);
    writer.finish();
  }

 private:
  struct Place {
    int64_t id;
    uint32_t slot, row;  // in the index, and in the source
  };

  bool ascending() const {
    for (size_t c = 0; c < chunks_.size(); ++c)
      if (chunks_[c].head().ascending == 0 || (c > 0 && chunks_[c].head().lowest <= chunks_[c - 1].head().highest))
        return false;
    return true;
  }

  // fn(at, slot) for every row of a chunk; next: the first free slot of each list, moved on.
  template <typename Fn>
  static void each_slot(const Chunk& chunk, std::vector<uint32_t>& next, const Fn& fn) {
    size_t at = 0;
    for (size_t l = 0; l < next.size(); ++l)
      for (uint32_t left = chunk.counts()[l]; left > 0; --left) fn(at++, next[l]++);
  }

  std::vector<uint32_t> first_slots() const {
    std::vector<uint32_t> first;
    first.reserve(entries_.size());
    for (const ListEntry& e : entries_) first.push_back(static_cast<uint32_t>(e.first));
    return first;
  }

  // Ids in the order of the source: a row's place among them is its place there.
  void write_places(FileWriter& writer) {
    std::vector<uint32_t> next = first_slots(), by_id;
    uint32_t row = 0;
    for (const Chunk& chunk : chunks_) {
      chunk.verify_places();
      by_id.resize(chunk.head().rows);
      each_slot(chunk, next, [&](size_t at, uint32_t slot) { by_id[chunk.order()[at]] = slot; });
      writer.append("by_id", bytes_of(by_id.data(), by_id.size() * sizeof(uint32_t)));
      for (uint32_t& at : by_id) at = row++;
      if (raw_) writer.append("raw_by_id", bytes_of(by_id.data(), by_id.size() * sizeof(uint32_t)));
      chunk.release();
      report(0);
    }
  }

  // Ids in any order: counted in buckets of their leading bits, then sorted a range of buckets at a time, as many as
  // the memory holds, the chunks read anew for each range.
  void sort_places(FileWriter& writer) {
    int64_t lowest = INT64_MAX, highest = 0;
    for (const Chunk& chunk : chunks_) {
      lowest = std::min(lowest, chunk.head().lowest);
      highest = std::max(highest, chunk.head().highest);
    }
    const auto bits = static_cast<uint32_t>(std::bit_width(static_cast<uint64_t>(highest - lowest)));
    const uint32_t shift = bits > 16 ? bits - 16 : 0;
    const auto bucket = [&](int64_t id) { return static_cast<size_t>(static_cast<uint64_t>(id - lowest) >> shift); };
    std::vector<uint64_t> sizes(kBuckets);
    for (const Chunk& chunk : chunks_) {
      chunk.verify_places();
      for (size_t at = 0; at < chunk.head().rows; ++at) {
        const int64_t id = chunk.id(at);
        if (id < lowest || id > highest)
          fail(ErrorCode::Corrupt, "a chunk of the build says that its ids end before " + std::to_string(id));
        ++sizes[bucket(id)];
      }
      chunk.release();
    }
    const uint64_t most = std::max<uint64_t>(1, job_.memory / 2 / sizeof(Place));
    std::vector<Place> places;
    std::vector<uint32_t> by_id;
    for (size_t from = 0, to = 0; from < kBuckets; from = to) {
      uint64_t held = 0;
      while (to < kBuckets && held + sizes[to] <= most) held += sizes[to++];
      if (to == from)
        fail(ErrorCode::LimitExceeded, "memory is " + std::to_string(job_.memory) + " bytes: want " +
                                           std::to_string(2 * sizeof(Place) * sizes[from]) +
                                           " to put these ids in order, so many of them lie close together");
      if (held == 0) continue;
      places.clear();
      places.reserve(held);
      std::vector<uint32_t> next = first_slots();
      uint32_t row = 0;
      for (const Chunk& chunk : chunks_) {
        each_slot(chunk, next, [&](size_t at, uint32_t slot) {
          const int64_t id = chunk.id(at);
          if (const size_t b = bucket(id); b >= from && b < to) places.push_back({id, slot, row + chunk.order()[at]});
        });
        row += static_cast<uint32_t>(chunk.head().rows);
        chunk.release();
        report(0);
      }
      std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) { return a.id < b.id; });
      for (size_t i = 1; i < places.size(); ++i)
        if (places[i].id == places[i - 1].id)
          fail(ErrorCode::InvalidArgument, "id " + std::to_string(places[i].id) + " comes twice: want each once");
      constexpr size_t kPiece = 1 << 16;
      for (size_t i = 0; i < places.size(); i += kPiece) {
        by_id.clear();
        const std::span<const Place> piece = std::span(places).subspan(i, std::min(kPiece, places.size() - i));
        for (const Place& place : piece) by_id.push_back(place.slot);
        writer.append("by_id", bytes_of(by_id.data(), by_id.size() * sizeof(uint32_t)));
        by_id.clear();
        for (const Place& place : piece) by_id.push_back(place.row);
        if (raw_) writer.append("raw_by_id", bytes_of(by_id.data(), by_id.size() * sizeof(uint32_t)));
      }
    }
  }

  // All rows, list after list and chunk after chunk, through a buffer of some slots.
  void write_rows(FileWriter& writer) {
    const size_t planes = format_.spec.row_bytes(), per_row = format_.factor_bytes(), width = format_.code.bytes;
    const size_t slot_bytes = planes + per_row + sizeof(int64_t);
    const size_t held = round_up(std::clamp(job_.memory / 4 / slot_bytes, kFewestHeld, kMostHeld), kBlockRows);
    std::vector<uint8_t> blocks(held * format_.spec.groups()), rest(held * format_.spec.rest_bytes()),
        factors(format_.factor == Factor::None ? 0 : held * width), stage(format_.stage_factor ? held * width : 0);
    std::vector<int64_t> ids(held, -1);
    struct Cursor {
      size_t at = 0;
      uint32_t planes = 0, factors = 0;  // checksums of what was read
    };
    std::vector<Cursor> cursors(chunks_.size());
    size_t used = 0;
    uint64_t done = 0;
    const auto flush = [&] {
      writer.append("blocks", std::span(blocks).first(used * format_.spec.groups()));
      writer.append("rest", std::span(rest).first(used * format_.spec.rest_bytes()));
      writer.append("factors", std::span(factors).first(factors.empty() ? 0 : used * width));
      writer.append("stage", std::span(stage).first(stage.empty() ? 0 : used * width));
      writer.append("ids", bytes_of(ids.data(), used * sizeof(int64_t)));
      for (std::vector<uint8_t>* column : {&blocks, &rest, &factors, &stage})
        std::fill(column->begin(), column->end(), 0);
      std::fill(ids.begin(), ids.end(), -1);
      used = 0;
      for (const Chunk& chunk : chunks_) chunk.release();
      report(done);
    };
    for (size_t l = 0; l < entries_.size(); ++l) {
      for (size_t c = 0; c < chunks_.size(); ++c) {
        const Chunk& chunk = chunks_[c];
        Cursor& cursor = cursors[c];
        const size_t rows = chunk.counts()[l];
        const uint8_t* plane = chunk.planes() + cursor.at * planes;
        const uint8_t* factor = chunk.factors() + cursor.at * per_row;
        cursor.planes = crc32c({plane, rows * planes}, cursor.planes);
        cursor.factors = crc32c({factor, rows * per_row}, cursor.factors);
        for (size_t i = 0; i < rows; ++i, plane += planes, factor += per_row) {
          if (used == held) flush();
          put_row(format_.spec, plane, used, blocks.data(), rest.data());
          if (!factors.empty()) std::memcpy(factors.data() + used * width, factor, width);
          if (!stage.empty()) std::memcpy(stage.data() + used * width, factor + per_row - width, width);
          ids[used++] = chunk.id(cursor.at + i);
        }
        cursor.at += rows;
        done += rows;
      }
      used = round_up(used, kBlockRows);
    }
    flush();
    for (size_t c = 0; c < chunks_.size(); ++c) {
      chunks_[c].expect("planes", cursors[c].planes);
      chunks_[c].expect("factors", cursors[c].factors);
    }
  }

  // Raw vectors and their ids stand in the order of the source.
  void write_raw(FileWriter& writer) const {
    constexpr size_t kPiece = 32 << 20;  // bytes, given back when they are written
    std::vector<int64_t> ids;
    for (const Chunk& chunk : chunks_) {
      ids.resize(chunk.head().rows);
      for (size_t at = 0; at < ids.size(); ++at) ids[chunk.order()[at]] = chunk.id(at);
      writer.append("raw_ids", bytes_of(ids.data(), ids.size() * sizeof(int64_t)));
      uint32_t crc = 0;
      for (size_t at = 0; at < chunk.raw().size(); at += kPiece) {
        const std::span<const uint8_t> piece = chunk.raw().subspan(at, std::min(kPiece, chunk.raw().size() - at));
        crc = crc32c(piece, crc);
        writer.append("raw_rows", piece);
        chunk.release();
      }
      chunk.expect("raw", crc);
      report(rows_);
    }
  }

  void report(uint64_t done) const {
    if (job_.progress) job_.progress(done, rows_);
  }

  const MergeJob& job_;
  const RowFormat& format_;
  const bool raw_;
  std::vector<ListEntry> entries_;
  std::vector<Chunk> chunks_;
  uint64_t rows_ = 0, slots_ = 0;
};

}  // namespace

void merge_chunks(const std::string& path, const MergeJob& job) { Merge(job).write(path); }

}  // namespace bebr
