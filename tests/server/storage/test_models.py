"""The models are typed as the tables are; that they equal the migrations is tried with revision 0001."""

from sqlalchemy import inspect

from terratunnel.server.storage.models import Base, TunnelAuditLog, User


def test_every_foreign_key_has_an_index_so_that_deleting_is_quick() -> None:
    for table in Base.metadata.tables.values():
        indexed = {next(iter(index.columns)).name for index in table.indexes}
        referring = {key.parent.name for key in table.foreign_keys}
        assert referring <= indexed, table.name


def test_every_constraint_has_a_name_that_a_later_migration_can_say() -> None:
    for table in Base.metadata.tables.values():
        assert [constraint for constraint in table.constraints if constraint.name is None] == []


def test_the_models_are_the_tables() -> None:
    assert inspect(User).local_table is Base.metadata.tables["users"]
    assert TunnelAuditLog.__tablename__ == "tunnel_audit_log"
