"""One member of a group (kafka-python): prints how many partitions it has and what it reads."""
import sys
from kafka import KafkaConsumer
from kafka.consumer.subscription_state import ConsumerRebalanceListener

address, topic, group = sys.argv[1:]


class Print(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        pass

    def on_partitions_assigned(self, assigned):
        print(f"assigned {len(consumer.assignment())}")


consumer = KafkaConsumer(bootstrap_servers=[address], group_id=group, auto_offset_reset='earliest',
                         session_timeout_ms=6000, heartbeat_interval_ms=500, auto_commit_interval_ms=100,
                         metadata_max_age_ms=1000)
consumer.subscribe([topic], listener=Print())
for message in consumer:
    print(f"partition {message.partition} offset {message.offset} {message.value.decode()}")
