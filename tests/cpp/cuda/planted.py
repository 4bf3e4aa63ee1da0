"""Bugs planted in the CUDA kernels, each of which the emulated tests must catch: what they are worth.

``planted.py make FOLDER`` writes the kernels with all bugs, one of which BEBR_PLANTED chooses when a test runs, so that
they are compiled once. ``planted.py run BINARY`` runs the tests of each."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

CUDA = Path(__file__).parents[3] / "csrc" / "cuda"
MOST_SECONDS = 120  # of a processor, for a test that a bug keeps from ending: a busy machine takes no more of them
# Whether a test fails is all that is looked at: no report needs lines, and leaks are for the tests without bugs.
SANITIZER = "detect_leaks=0:symbolize=0"


class Bug(NamedTuple):
    what: str
    file: str
    site: str  # stands once in the file; [[what is replaced]]
    wrong: str
    test: str = "scan_of_many_tiles"  # part of the names of the tests that must fail


_BEST, _WGMMA = "complete_and_best", "scan_by_wgmma_of"
_STREAM, _GROUPS = "search_streams", "assign_in_groups"
_ENCODE, _DESCEND, _ASSIGN = "encode_equals", "descend_equals", "assign_equals"
_SIGNS, _NETWORKS = "search_of_sign_planes", "encode_recurrent"
_USED = "copy_wait<1>();\n      [[__syncthreads();]]"
_FIRST = "[[load_step(0, 0, 0);]]"
_HALF = "if (threadIdx.x % 128 < 64) commit_products();"
_FAR = "k * kStepBytes + (200u << 10)"
_OPEN = "mover == 31 ? 0 : [[kWholeWarp << (mover + 1)]]"
BUGS = [
    Bug("no barrier before codes are used", "scan.cu", _USED, ";"),
    Bug("half a block waits", "scan.cu", _USED, "if (threadIdx.x < 64) __syncthreads();"),
    Bug("one copy too few is waited for", "scan.cu", "[[copy_wait<1>();]]", "copy_wait<2>();"),
    Bug("no barrier before a stage is written over", "scan.cu", "[[__syncthreads();]]  // before this stage", ";"),
    Bug("the next tile goes where this one is", "scan.cu", "last ? 0 : chunk + 1, [[stage ^ 1]]", "stage"),
    Bug("the last copies are not waited for", "scan.cu", "[[copy_wait<0>();]]", ";"),
    Bug(
        "half a warp waits",
        "scan.cu",
        _FIRST,
        "if (threadIdx.x % 32 < 16) __syncwarp(); load_step(0, 0, 0);",
    ),
    Bug("a copy is not aligned", "scan_tile.h", "(b * bytes + i) * 16, [[from + i * 16]]", "from + i * 16 + 4"),
    Bug("16 bytes of shared memory too few", "scan.cu", "kThreads, [[args.shared.bytes]]", "args.shared.bytes - 16"),
    Bug("fragments are swapped", "scan_tile.h", "[[a[m][2 * high + i]]] =", "a[m][2 * i + high]"),
    Bug("the other half of a group", "scan_tile.h", "[[quad >> 4 & 1]]", "~quad >> 4 & 1"),
    Bug("one quad for all lanes", "scan_tile.h", "[[quads[4 * high + t]]]", "quads[4 * high]"),
    Bug("a query of another lane", "scan.cu", "(n * 8 + [[g]])", "t"),
    Bug("queries of the first chunk for all", "scan.cu", "if ([[args.chunks > 1]] ||", "false"),
    Bug(
        "a product fused with a sum",
        "scan_tile.h",
        "[[numbers.base + product]]",
        "std::fma(numbers.scale, static_cast<float>(sum), numbers.base)",
    ),
    Bug("rows behind the last one count", "scan_tile.h", "[[row >= item.end_row]]", "false"),
    Bug("the mask is ignored", "scan_tile.h", "[[args.mask != nullptr]]", "false"),
    Bug(
        "a score at the threshold passes",
        "scan_tile.h",
        "!([[score > numbers[i].threshold]])",
        "score >= numbers[i].threshold",
    ),
    Bug(
        "rows of the first block alone are looked at",
        "scan.cu",
        "any |= [[score_of(mine, sums[m][n][2 * h + c], factors[m][h], kDifference) > mine.threshold]]",
        "m == 0 && score_of(mine, sums[m][n][2 * h + c], factors[m][h], kDifference) > mine.threshold",
    ),
    Bug("a visitor is taken for a query", "scan_tile.h", "? [[args.visitors[visitor]]] :", "visitor", "scan_equals"),
    Bug("more candidates than there is room for", "scan_tile.h", "[[at < args.room]]", "true", "scan_counts"),
    Bug("no fence of registers before a product", "scan_sm90.cu", "[[fence_registers(a[0]);]]", ";", _WGMMA),
    Bug("copies that products may not see", "scan_sm90.cu", "[[fence_copies();]]", ";", _WGMMA),
    Bug("products that are in no group", "scan_sm90.cu", "[[commit_products();]]", ";", _WGMMA),
    Bug("sums that nobody waits for", "scan_sm90.cu", "[[wait_products<0>();]]", ";", _WGMMA),
    Bug("sums but the last are waited for", "scan_sm90.cu", "[[wait_products<0>();]]", "wait_products<1>();", _WGMMA),
    Bug(
        "a left operand is overwritten while it is read",
        "scan_sm90.cu",
        "[[wait_products<1>();]]  // the other",
        ";",
        _WGMMA,
    ),
    Bug("one left operand for two products", "scan_sm90.cu", "(k + 1, [[odd]])", "even", _WGMMA),
    Bug("half of a warpgroup multiplies", "scan_sm90.cu", "[[commit_products();]]", _HALF, _WGMMA),
    Bug("sums of the tile before stay", "scan_sm90.cu", "const bool add = [[c + k > 0]];", "true", _WGMMA),
    Bug("groups of 8 queries lie nearer", "scan_sm90.cu", "kCore, [[8 * pitch]])", "8 * pitch - 16", _WGMMA),
    Bug("halves of a step lie further apart", "scan_sm90.cu", "query_stage, [[kCore]],", "2 * kCore", _WGMMA),
    Bug("a matrix behind shared memory", "scan_sm90.cu", "matrix_behind(queries, [[k * kStepBytes]])", _FAR, _WGMMA),
    Bug("a matrix that is not aligned", "scan_sm90.cu", "kCore, [[8 * pitch]])", "8 * pitch + 4", _WGMMA),
    Bug("the first 128 queries twice", "scan_sm90.cu", "matrix_behind(b, [[128 * pitch]])", "0", _WGMMA),
    Bug(
        "a run of steps that ends late",
        "plan.cpp",
        "words.push_back(plan.wide ? [[(end - k)]]",
        "(end - k + 1)",
        _WGMMA,
    ),
    Bug("the quads of another k-step", "scan_sm90.cu", "bytes, quads + [[kQuads * (first_step + k)]]", "0", _WGMMA),
    Bug("quads as without wgmma", "plan.cpp", "at = [[plan.wide]] ?", "false", _WGMMA),
    Bug("codes of the other warpgroup", "scan_sm90.cu", "[[group * kGroupRows * chunk[3]]];", "0", _WGMMA),
    Bug("both warpgroups take the same rows", "scan_sm90.cu", "(tile * kGroups + [[group]])", "0", _WGMMA),
    Bug(
        "queries of the first chunk stay",
        "scan_sm90.cu",
        "if ([[args.chunks > 1]] || tile == 0)\n      load",
        "false",
        _WGMMA,
    ),
    Bug("the next tile where wgmma reads", "scan_sm90.cu", "plan : chunk + 4, [[stage ^ 1]]", "stage", _WGMMA),
    Bug("a warpgroup's stage is used at once", "scan_sm90.cu", "[[sync_warpgroup();]]\n      const", ";", _WGMMA),
    Bug(
        "no barrier before wgmma's chunk is written over",
        "scan_sm90.cu",
        "over\n        [[__syncthreads();]]",
        ";",
        _WGMMA,
    ),
    Bug(
        "least sums by the least factor",
        "scan_sm90.cu",
        "high = [[fmaxf(factors[0][0], factors[0][1])]];",
        "low",
        _WGMMA,
    ),
    Bug("rows of two fields overlap", "expand.h", "[[group += 64;]]", "group += 32;"),
    Bug("shallow groups weigh as deep ones", "expand.h", "up = [[planes - depth]];", "0"),
    Bug("4 bytes of a factor read as 2", "expand.h", "[[factors.bytes == 2]]", "factors.bytes >= 2"),
    Bug("no barrier between steps of the sort", "complete.cu", "step /= 2) {\n      [[__syncthreads();]]", ";", _BEST),
    Bug("the larger of equal ids", "complete.cu", "[[ids[other] < ids[i]]]", "ids[other] > ids[i]", _BEST),
    Bug("half the lanes are summed", "complete.cu", "int by = [[16]]", "8", _BEST),
    Bug(
        "a part of the sum is left out", "complete.cu", "2 * sum - [[static_cast<uint32_t>(args.ones[q])]]", "0u", _BEST
    ),
    Bug(
        "a final score through float",
        "complete.cu",
        "[[args.scale[q] * static_cast<double>(total)]]",
        "static_cast<double>(static_cast<float>(args.scale[q] * static_cast<double>(total)))",
        _BEST,
    ),
    Bug(
        "a threshold that keeps equal scores out",
        "complete.cu",
        "? [[step_below(scores[args.k - 1])]]",
        "scores[args.k - 1]",
        _BEST,
    ),
    Bug("the last candidate is lost", "complete.cu", "[[i - args.k < found]]", "i - args.k + 1 < found", _BEST),
    Bug("rows 8 apart are one", "complete.cu", "[[row % 16 < 8]] ?", "true", _BEST),
    Bug(
        "no barrier before a chunk is multiplied",
        "multiply.h",
        "copy_wait<0>();\n    [[__syncthreads();]]",
        ";",
        _ENCODE,
    ),
    Bug("columns that nobody waits for", "multiply.h", "[[copy_wait<0>();]]", ";", _ENCODE),
    Bug("the next chunk goes where this one is", "multiply.h", "shared + ([[stage ^ 1]])", "stage", _ENCODE),
    Bug(
        "a product that is not fused",
        "multiply.h",
        "[[fmaf(a[i / 4].values[i % 4], b[j / 4].values[j % 4], sums[i][j])]]",
        "a[i / 4].values[i % 4] * b[j / 4].values[j % 4] + sums[i][j]",
        _ENCODE,
    ),
    Bug(
        "a bias of another column",
        "product.cu",
        "float bias = [[args.layer.bias[first_column + tile_column(j)]]]",
        "args.layer.bias[first_column + j]",
        _ENCODE,
    ),
    Bug("rows behind the last one are written", "product.cu", "[[row >= args.x.rows]]", "false", _ENCODE),
    Bug("those behind a mover lose their turn", "descend.cu", _OPEN, "0u", _DESCEND),
    Bug("those before a mover move again", "descend.cu", _OPEN, "kWholeWarp", _DESCEND),
    Bug("every lane moves", "descend.cu", "[[at.lane == mover]]", "true", _DESCEND),
    Bug(
        "a fused step",
        "descend.cu",
        "[[at.g[s] - move * row[s]]]",
        "std::fma(-move, row[s], at.g[s])",
        _DESCEND,
    ),
    Bug("a restart is kept that is no better", "descend.cu", "[[!(reached < best)]]", "false", _ENCODE),
    Bug("sgn(0) is -1", "float_rows.cu", "[[values[j] >= v[j]]]", "values[j] > v[j]", _ENCODE),
    Bug("a row of zeros is divided by its length", "float_rows.cu", "[[squares > 0]] ?", "true", _ENCODE),
    Bug("a row that is not finite passes", "float_rows.cu", "here && [[!finite]]", "false", "encode_reads"),
    Bug("the left half twice", "float_rows.cu", "first += [[right * half]];", "0", _NETWORKS),
    Bug(
        "half of the parts of a sum",
        "float_rows.cu",
        "for (int by = 1; by < [[static_cast<int>(kParts)]]; by *= 2) sum",
        "4",
        _NETWORKS,
    ),
    Bug("the length of a row of zeros", "float_rows.cu", "const float by = [[length > 0]] ?", "true", _NETWORKS),
    Bug("a plane where the first one is", "float_rows.cu", "[[args.offset + group]]", "group", _NETWORKS),
    Bug("planes weigh alike", "float_rows.cu", "above ? [[args.weight]] : -args.weight", "1.0f", _NETWORKS),
    Bug("no ReLU between layers", "product.cu", "[[args.relu]] &&", "false", _NETWORKS),
    Bug(
        "a plane's weight of the next",
        "complete.cu",
        "[[(args.spec.planes - 1 - t)]]",
        "(args.spec.planes - t)",
        _SIGNS,
    ),
    Bug("the signs of a row's neighbour", "complete.cu", "[[row % 8 * 2 + row % 16 / 8]]", "row % 16", _SIGNS),
    Bug("other planes of the first row", "complete.cu", "[[static_cast<uint64_t>(row) * rest_bytes]]", "0", _SIGNS),
    Bug(
        "planes that are not scanned add nothing",
        "batch.cpp",
        "? 0 : [[static_cast<float>(unread_bound(spec, fine[q]) * (1 + 1e-5))]]",
        "0.0f",
        _SIGNS,
    ),
    Bug("a window that nobody waits for", "device_rows.cpp", "[[wait_for_copies();]]\n    if", ";", _STREAM),
    Bug(
        "the next window goes where this one is",
        "device_rows.cpp",
        "bring(windows_[windows[i]], [[i % 2]]);",
        "0",
        _STREAM,
    ),
    Bug(
        "a row of each piece alone",
        "row_search.cpp",
        "narrow([[to - window.first]])",
        "from - window.first + 1",
        _STREAM,
    ),
    Bug("the mask of the first window", "row_search.cpp", "[[window.first / kBlockRows]]", "0", _STREAM),
    Bug("a missing result is a row", "answers.cu", "[[i < args.most]]", "true", _STREAM),
    Bug("an offset of another query", "answers.cu", "? [[args.offset[q]]] - score", "args.offset[0]", _STREAM),
    Bug("nothing is beyond a radius", "answers.cu", "[[score > unit.radius]]", "false", _STREAM),
    Bug(
        "a unit's product fused with its sum",
        "answers.cu",
        "score = [[product + unit.summand]];",
        "std::fma(unit.factor, score, unit.summand)",
        _STREAM,
    ),
    Bug("the larger of equal lists", "best.h", "[[other < number]]", "other > number", _ASSIGN),
    Bug("half of a row's threads compare", "assign.cu", "take_best([[16]]", "8", _ASSIGN),
    Bug("a group is chosen twice", "grouped.cu", "[[score < last]] ||", "score <= last", _GROUPS),
    Bug("sums of counts that are not there", "grouped.cu", "[[__syncthreads();]]  // counts", ";", _GROUPS),
    Bug(
        "a block of a group before",
        "grouped.cu",
        "[[args.first_block[middle] <= blockIdx.x]]",
        "args.first_block[middle] < blockIdx.x",
        _GROUPS,
    ),
    Bug(
        "visitors of the next group",
        "grouped.cu",
        "count = [[left < kTileRows ? left : kTileRows]];",
        "kTileRows",
        _GROUPS,
    ),
    Bug(
        "a group's first tile alone",
        "grouped.cu",
        "tile < [[args.first_tile[group + 1]]]; ++tile",
        "args.first_tile[group] + 1",
        _GROUPS,
    ),
    Bug(
        "the last group's list",
        "grouped.cu",
        "[[atomicMax(args.best + rows[tile_row(i)], key_of(best[i], args.names[list[i]]));]]",
        "args.best[rows[tile_row(i)]] = key_of(best[i], args.names[list[i]]);",
        _GROUPS,
    ),
    Bug(
        "a column of the first tile",
        "grouped.cu",
        "[[tile * kTileColumns + tile_column(j)]];",
        "tile_column(j)",
        _GROUPS,
    ),
    Bug("scores below 0 in another order", "grouped.cu", "bits >> 31 ? [[~bits]] :", "bits", _GROUPS),
]


def make(folder: Path) -> None:
    """Each site becomes a choice between what is right and its bugs."""
    (folder / "cuda").mkdir(parents=True, exist_ok=True)
    for name in sorted({bug.file for bug in BUGS}):
        text = (CUDA / name).read_text()
        for site in dict.fromkeys(bug.site for bug in BUGS if bug.file == name):
            before, rest = site.split("[[", 1)
            right, after = rest.rsplit("]]", 1)
            if text.count(before + right + after) != 1:
                raise SystemExit(f"{name}: {site!r} stands there {text.count(before + right + after)} times: want once")
            choice, statement = right if right.endswith(";") else f"({right})", right.endswith(";")
            for number, bug in enumerate(BUGS, 1):
                if bug.file == name and bug.site == site:
                    chosen = f"bebr_planted == {number}"
                    choice = (
                        f"if ({chosen}) {{ {bug.wrong} }} else {{ {choice} }}"
                        if statement
                        else f"({chosen} ? ({bug.wrong}) : {choice})"
                    )
            text = text.replace(before + right + after, before + choice + after)
        head = "#include <cstdlib>\n#include <cmath>\n#ifndef BEBR_PLANTED_BUGS\n#define BEBR_PLANTED_BUGS\n"
        head += 'inline const char* const bebr_named = std::getenv("BEBR_PLANTED");\n'
        head += "inline const int bebr_planted = bebr_named ? std::atoi(bebr_named) : 0;\n#endif\n"
        (folder / "cuda" / name).write_text(head + text)


def run(binary: str) -> None:
    """Exits with 1 where a bug is missed, or the tests fail without one."""
    start, missed = time.monotonic(), []
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))  # of each process that it starts
    whole = [(0, "none", test) for test in sorted({bug.test for bug in BUGS})]
    for number, what, test in [*whole, *((number, bug.what, bug.test) for number, bug in enumerate(BUGS, 1))]:
        environment = dict(os.environ, BEBR_PLANTED=str(number), ASAN_OPTIONS=SANITIZER)
        done = subprocess.run([binary, test], env=environment, capture_output=True)
        if (done.returncode == 0) != (number == 0):
            missed.append(what)
            print(f"missed: {what}" if number else f"fails without a bug: {done.stdout.decode()}")
    print(f"{len(BUGS) - len(missed)} of {len(BUGS)} planted bugs caught in {time.monotonic() - start:.0f} s")
    sys.exit(bool(missed))


if __name__ == "__main__":
    make(Path(sys.argv[2])) if sys.argv[1] == "make" else run(sys.argv[2])
