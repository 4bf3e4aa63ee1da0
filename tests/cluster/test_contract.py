"""What a user may rely on of a collection holds of one in four shards: those tests of the contract that ask for
nothing that there is not over shards (docs/cluster.md), with a root in the place of a server."""

from tests.serve.test_contract import (  # noqa: F401
    test_a_collection_without_a_model,
    test_collections_come_and_go,
)
from tests.serve.test_contract_rows import (  # noqa: F401
    test_an_insert_leaves_what_is_there,
    test_count,
    test_delete_by_filter,
    test_get_gives_rows_by_id_and_none_for_a_missing_one,
    test_of_an_id_that_comes_twice_the_last_row_is_written,
    test_scroll_pages_through_all_rows_in_the_order_of_ids,
    test_set_payloads_changes_payloads_and_nothing_else,
    test_truncate_leaves_an_empty_collection_that_goes_on,
    test_upsert_replaces_whole_rows_and_delete_removes_them,
)
from tests.serve.test_contract_search import (  # noqa: F401
    test_a_row_is_in_the_group_of_each_value_it_has,
    test_fewer_rows_than_k,
    test_filters,
    test_hits_come_in_groups,
    test_radius_and_offset_show_a_part_of_the_ranking,
)
