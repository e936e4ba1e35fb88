"""What the admin clients do with groups: admin.py LIBRARY ADDRESS TOPIC CLASSIC CONSUMER

CLASSIC and CONSUMER are groups of the two protocols with one member, client id guide, that has partitions 0 and 1 of
TOPIC. A third group is made, changed and deleted here.
"""
import sys

library, address, topic, classic, consumer = sys.argv[1:]
made = 'made-by-' + library
wrong = []


def expect(what, got, want):
    if got != want:
        wrong.append(f"{what}: {got!r}, want {want!r}")


def refused(call):
    """The name of the error that a call is answered with."""
    try:
        call()
    except Exception as e:
        return e.args[0].name() if library == 'confluent-kafka' else type(e).__name__


def kafka_python():
    from kafka import KafkaAdminClient, TopicPartition
    from kafka.admin import OffsetSpec
    from kafka.structs import OffsetAndMetadata
    admin = KafkaAdminClient(bootstrap_servers=[address])
    p0, p1 = TopicPartition(topic, 0), TopicPartition(topic, 1)

    def names(**filters):
        return {g['group_id'] for g in admin.list_groups(**filters)} & {classic, consumer, made}

    def offsets():
        return {p.partition: (o.offset, o.metadata) for p, o in admin.list_group_offsets(made)[made].items() if o.offset >= 0}

    def errors(results):
        return {getattr(e, '__name__', repr(e)) for e in results.values()}

    expect('altered', errors(admin.alter_group_offsets(made, {p0: OffsetAndMetadata(1, 'note', -1), p1: OffsetAndMetadata(2, '', -1)})), {'NoError'})
    expect('offsets', offsets(), {0: (1, 'note'), 1: (2, '')})
    expect('all groups', names(), {classic, consumer, made})
    expect('empty groups', names(states_filter=['Empty']), {made})
    expect('groups of the consumer protocol', names(types_filter=['consumer']), {consumer})
    described = admin.describe_groups([classic, made])
    member = described[classic]['members'][0]
    expect('the classic group', (described[classic]['group_state'], member['client_id']), ('Stable', 'guide'))
    expect('the made group', (described[made]['group_state'], described[made]['members']), ('Empty', []))
    expect('altering a group with members', errors(admin.alter_group_offsets(classic, {p0: OffsetAndMetadata(1, '', -1)})), {'UnknownMemberIdError'})
    expect('deleting a group with members', admin.delete_groups([classic])[classic], 'NonEmptyGroupError')
    expect('deleting offsets in use', errors(admin.delete_group_offsets(classic, [p0])), {'GroupSubscribedToTopicError'})
    reset = admin.reset_group_offsets(made, {p0: OffsetSpec.LATEST, p1: OffsetSpec.EARLIEST})
    expect('reset', {p.partition: (r['error'].__name__, r['offset']) for p, r in reset.items()}, {0: ('NoError', 3), 1: ('NoError', 0)})
    expect('deleted offsets', errors(admin.delete_group_offsets(made, [p0])), {'NoError'})
    expect('offsets left', offsets(), {1: (0, '')})
    expect('deleted', admin.delete_groups([made])[made], 'OK')
    expect('deleted again', admin.delete_groups([made])[made], 'GroupIdNotFoundError')
    expect('groups left', names(), {classic, consumer})


def confluent_kafka():
    from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, ConsumerGroupType, TopicPartition
    from confluent_kafka.admin import AdminClient
    admin = AdminClient({'bootstrap.servers': address})

    def names(**filters):
        return {g.group_id for g in admin.list_consumer_groups(**filters).result().valid} & {classic, consumer, made}

    def alter(group, *offsets):
        partitions = [TopicPartition(topic, p, o) for p, o in enumerate(offsets)]
        done = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, partitions)])[group].result()
        return [p.error and p.error.name() for p in done.topic_partitions]

    def offsets():
        got = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(made)])[made].result()
        return {p.partition: p.offset for p in got.topic_partitions if p.offset >= 0}

    def describe(group):
        g = admin.describe_consumer_groups([group])[group].result()
        members = [(m.client_id, sorted(p.partition for p in m.assignment.topic_partitions)) for m in g.members]
        return g.state, g.type, members

    expect('altered', alter(made, 1, 2), [None, None])
    expect('offsets', offsets(), {0: 1, 1: 2})
    expect('all groups', names(), {classic, consumer, made})
    expect('empty groups', names(states={ConsumerGroupState.EMPTY}), {made})
    expect('groups of the consumer protocol', names(types={ConsumerGroupType.CONSUMER}), {consumer})
    expect('the classic group', describe(classic), (ConsumerGroupState.STABLE, ConsumerGroupType.CLASSIC, [('guide', [0, 1])]))
    expect('the consumer group', describe(consumer), (ConsumerGroupState.STABLE, ConsumerGroupType.CONSUMER, [('guide', [0, 1])]))
    expect('the made group', describe(made), (ConsumerGroupState.EMPTY, ConsumerGroupType.CLASSIC, []))
    for group in classic, consumer:
        expect('altering ' + group, alter(group, 1), ['UNKNOWN_MEMBER_ID'])
        expect('deleting ' + group, refused(lambda: admin.delete_consumer_groups([group])[group].result()), 'NON_EMPTY_GROUP')
    expect('deleted', admin.delete_consumer_groups([made])[made].result(), None)
    expect('deleted again', refused(lambda: admin.delete_consumer_groups([made])[made].result()), 'GROUP_ID_NOT_FOUND')
    expect('groups left', names(), {classic, consumer})


{'kafka-python': kafka_python, 'confluent-kafka': confluent_kafka}[library]()
if wrong:
    raise SystemExit('\n'.join(wrong))
print('as expected')
