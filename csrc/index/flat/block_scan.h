// The scan itself, inside: flat/scan.cpp has decided which rows, and that they are worth a scan.
#pragma once

#include "index/flat/parts.h"

namespace bebr {

// Pushes the best rows that the filters' bitmaps let through. eligible: how many these are. first_stage_rows: how many
// rows a progressive search completes, at least if it does not follow others. follows: as of scan_flat.
void scan_blocks(const RowFormat& format, const FlatParts& parts, QueryBatch& queries, const SearchOptions& options,
                 size_t eligible, size_t first_stage_rows, bool follows, TopKBatch& tops);

}  // namespace bebr
