import java.time.Duration;
import java.time.Instant;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * One member of a consumer group, of Apache Kafka's client: sister of the Go program in ../member.
 *
 * <p>It reads nothing but its flags, commits what it has read after each poll, and prints one line of JSON for
 * each thing that happens to it, before it goes on. SIGTERM makes it leave.
 */
public final class Member implements ConsumerRebalanceListener {
    private volatile boolean stopped;

    public static void main(String[] args) {
        Map<String, String> flags = new HashMap<>();
        for (int i = 0; i < args.length; i += 2) {
            flags.put(args[i].substring(1), args[i + 1]);
        }
        new Member().consume(config(flags), flags.get("topic"));
    }

    private static Properties config(Map<String, String> flags) {
        Properties p = new Properties();
        p.put("bootstrap.servers", flags.get("bootstrap"));
        p.put("group.id", flags.get("group"));
        p.put("client.id", flags.get("name"));
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        p.put("reconnect.backoff.max.ms", "200");
        // Without its only broker this client would begin anew and forget its topics for a moment, upon which
        // the leader of a group asks for a rebalance.
        p.put("metadata.recovery.strategy", "none");
        p.put("key.deserializer", StringDeserializer.class.getName());
        p.put("value.deserializer", StringDeserializer.class.getName());
        if (flags.containsKey("instance")) {
            p.put("group.instance.id", flags.get("instance"));
        }
        String protocol = flags.get("protocol");
        if (protocol.equals("consumer")) {
            p.put("group.protocol", "consumer");
            return p;
        }
        p.put("session.timeout.ms", flags.get("session"));
        p.put("heartbeat.interval.ms", "500");
        p.put("partition.assignment.strategy", Map.of(
            "classic-eager", RangeAssignor.class.getName(),
            "classic-cooperative", CooperativeStickyAssignor.class.getName()).get(protocol));
        return p;
    }

    private void consume(Properties config, String topic) {
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(config);
        CountDownLatch left = new CountDownLatch(1);
        // The virtual machine goes when its shutdown hooks are through, so this one waits.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopped = true;
            consumer.wakeup();
            try {
                left.await();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        consumer.subscribe(List.of(topic), this);
        say("joined", "");
        try {
            while (!stopped) {
                read(consumer, consumer.poll(Duration.ofMillis(100)));
            }
        } catch (WakeupException e) {
            // SIGTERM came while it waited.
        } finally {
            consumer.close();
            say("left", "");
            left.countDown();
        }
    }

    private void read(KafkaConsumer<String, String> consumer, ConsumerRecords<String, String> records) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (ConsumerRecord<String, String> r : records) {
            say("record", ",\"partition\":%d,\"offset\":%d,\"value\":\"%s\"".formatted(r.partition(), r.offset(), r.value()));
            offsets.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
        }
        if (offsets.isEmpty()) {
            return;
        }
        try {
            consumer.commitSync(offsets);
        } catch (WakeupException e) {
            throw e;
        } catch (KafkaException e) {
            say("refused", ",\"error\":\"%s\"".formatted(e.getClass().getSimpleName()));
            return;
        }
        say("committed", offsets.entrySet().stream()
            .map(e -> "\"%d\":%d".formatted(e.getKey().partition(), e.getValue().offset()))
            .collect(Collectors.joining(",", ",\"offsets\":{", "}")));
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        sayPartitions("assigned", partitions);
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        sayPartitions("revoked", partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        sayPartitions("lost", partitions);
    }

    private static void sayPartitions(String event, Collection<TopicPartition> partitions) {
        if (!partitions.isEmpty()) {
            say(event, partitions.stream().map(p -> Integer.toString(p.partition()))
                .collect(Collectors.joining(",", ",\"partitions\":[", "]")));
        }
    }

    private static void say(String event, String rest) {
        Instant now = Instant.now();
        System.out.println("{\"at\":%d,\"event\":\"%s\"%s}".formatted(now.getEpochSecond() * 1_000_000_000L + now.getNano(), event, rest));
    }
}
