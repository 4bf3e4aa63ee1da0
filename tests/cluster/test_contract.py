"""What a user may rely on of a collection holds of one in four shards: those tests of the contract that ask for
nothing that there is not over shards (docs/cluster.md), with a root in the place of a server."""

from tests.serve.test_contract import (  # noqa: F401
    larger,
    test_a_collection_gets_another_model,
    test_a_collection_without_a_model,
    test_collections_come_and_go,
    test_models,
    test_vectors_are_kept_as_what_there_is,
    test_what_is_no_model_is_refused,
)
from tests.serve.test_contract_rows import (  # noqa: F401
    test_a_scroll_under_writes_shows_every_lasting_row_once,
    test_an_insert_leaves_what_is_there,
    test_count,
    test_delete_by_filter,
    test_get_gives_rows_by_id_and_none_for_a_missing_one,
    test_ids_reach_to_the_end_of_int64,
    test_of_an_id_that_comes_twice_the_last_row_is_written,
    test_of_many_that_insert_an_id_one_does,
    test_scroll_pages_through_all_rows_in_the_order_of_ids,
    test_set_payloads_changes_payloads_and_nothing_else,
    test_truncate_leaves_an_empty_collection_that_goes_on,
    test_upsert_replaces_whole_rows_and_delete_removes_them,
)
from tests.serve.test_contract_search import (  # noqa: F401
    newer,
    test_fewer_rows_than_k,
    test_filters,
    test_queries_with_an_encoder_and_dimensions_of_their_own,
    test_radius_and_offset_show_a_part_of_the_ranking,
)
