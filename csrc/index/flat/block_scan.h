// The scan itself, inside: flat/scan.cpp has decided which rows, and that they are worth a scan.
#pragma once

#include "index/flat/parts.h"

namespace bebr {

// Pushes the best rows that the filters' bitmaps let through. eligible: how many these are. first_stage_rows: how many
// rows a progressive search completes at least.
void scan_blocks(const RowFormat& format, const FlatParts& parts, QueryBatch& queries, const SearchOptions& options,
                 size_t eligible, size_t first_stage_rows, TopKBatch& tops);

}  // namespace bebr
