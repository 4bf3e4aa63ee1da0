// Bytes on the wire: a search as clients send it, and what no honest client sends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace bebr::test {

// A framed SearchRequest of one query whose first value is `first`.
std::string search_message(const std::string& collection, float first, uint32_t k);
// One of the rows of these ids, in place of queries.
std::string rows_message(const std::string& collection, const std::vector<int64_t>& ids, uint32_t k);
// Such a message with further fields, as bytes.
std::string with(const std::string& message, const std::string& fields);
// The field of the ids that it may be answered by.
std::string allowed(const std::vector<int64_t>& ids);

// The fields of hits in groups.
std::string grouped(const std::string& by, uint32_t size);

// The bytes of one search of "small", and of one connection that may be of any kind; in the pieces in which they are
// sent.
std::vector<std::string> honest_connection(std::mt19937& random, const std::string& authorization);
std::vector<std::string> random_connection(std::mt19937& random);

}  // namespace bebr::test
