"""Prints what topics hold for a read_committed consumer of confluent-kafka: topic, partition, offset, value."""
import sys

from confluent_kafka import Consumer, KafkaError, TopicPartition

address, *topics = sys.argv[1:]
consumer = Consumer({'bootstrap.servers': address, 'group.id': 'committed.py', 'isolation.level': 'read_committed',
                     'enable.auto.commit': False, 'enable.partition.eof': True, 'auto.offset.reset': 'earliest'})
held = consumer.list_topics(timeout=30).topics
left = {(topic, partition) for topic in topics for partition in held[topic].partitions}
consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in left])
while left:
    message = consumer.poll(30)
    if message is None:
        sys.exit(f'no end of {left}')
    if not message.error():
        print('read', message.topic(), message.partition(), message.offset(), message.value().decode())
    elif message.error().code() == KafkaError._PARTITION_EOF:
        left.discard((message.topic(), message.partition()))
    else:
        sys.exit(f'{message.topic()}-{message.partition()}: {message.error()}')
consumer.close()
