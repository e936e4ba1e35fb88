import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Scanner;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A transactional producer of Apache Kafka's client: sister of the Go program in ../transactor, which tells what it
 * does. The version of transactions is that of the jar: 2 since Apache Kafka 4.0, before that 1.
 */
public final class Transactor {
    private final Map<String, String> flags = new HashMap<>();
    private final KafkaProducer<String, String> producer;
    private volatile boolean stopped;

    public static void main(String[] args) throws Exception {
        Transactor t = new Transactor(args);
        say("ready", "");
        if (t.flags.containsKey("group")) {
            t.copyAll();
        } else {
            t.obey();
        }
    }

    private Transactor(String[] args) {
        for (int i = 0; i < args.length; i += 2) {
            flags.put(args[i].substring(1), args[i + 1]);
        }
        Properties p = common();
        p.put("transactional.id", flags.get("id"));
        p.put("transaction.timeout.ms", flags.getOrDefault("timeout", "60000"));
        p.put("key.serializer", StringSerializer.class.getName());
        p.put("value.serializer", StringSerializer.class.getName());
        producer = new KafkaProducer<>(p);
        producer.initTransactions();
    }

    private Properties common() {
        Properties p = new Properties();
        p.put("bootstrap.servers", flags.get("bootstrap"));
        p.put("reconnect.backoff.max.ms", "200");
        return p;
    }

    private void obey() throws InterruptedException {
        Scanner lines = new Scanner(System.in);
        while (lines.hasNextLine()) {
            try {
                run(lines.nextLine().split(" "));
                say("did", "");
            } catch (KafkaException e) {
                refused(e);
            } catch (ExecutionException e) {
                refused(e.getCause());
            }
        }
        System.exit(0); // close would wait for what was refused
    }

    private void run(String[] words) throws InterruptedException, ExecutionException {
        switch (words[0]) {
            case "begin" -> producer.beginTransaction();
            case "send" -> producer.send(new ProducerRecord<>(words[1], Integer.valueOf(words[2]), null, words[3])).get();
            case "commit" -> producer.commitTransaction();
            case "abort" -> producer.abortTransaction();
            default -> throw new IllegalArgumentException(words[0]);
        }
    }

    /** Its documentation says at which errors a producer must be closed: an abort of it is then refused, too. */
    private void refused(Throwable e) {
        boolean fatal = e instanceof ProducerFencedException;
        if (e instanceof InvalidProducerEpochException || e.getCause() instanceof InvalidProducerEpochException) {
            try {
                producer.abortTransaction();
            } catch (KafkaException again) {
                fatal = true;
            }
        }
        say("refused", ",\"error\":\"%s\",\"fatal\":%s".formatted(e.toString().replaceAll("[\"\\\\\\n]", "'"), fatal));
    }

    private void copyAll() throws Exception {
        Properties p = common();
        p.put("group.id", flags.get("group"));
        p.put("isolation.level", "read_committed");
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        p.put("max.poll.records", "20");
        p.put("key.deserializer", StringDeserializer.class.getName());
        p.put("value.deserializer", StringDeserializer.class.getName());
        if (flags.get("flow").equals("2")) {
            p.put("group.protocol", "consumer");
        } else {
            p.put("session.timeout.ms", "6000");
            p.put("heartbeat.interval.ms", "500");
        }
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(p);
        CountDownLatch left = new CountDownLatch(1);
        // The virtual machine goes when its shutdown hooks are through, so this one waits.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopped = true;
            try {
                left.await();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        consumer.subscribe(List.of(flags.get("from")));
        try {
            for (int n = 1; !stopped; ) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                if (!records.isEmpty()) {
                    transact(consumer, records, n++);
                }
            }
            consumer.close();
            say("left", "");
        } catch (KafkaException e) {
            say("failed", ",\"error\":\"%s\"".formatted(e.toString().replaceAll("[\"\\\\\\n]", "'")));
            Runtime.getRuntime().halt(1);
        } finally {
            left.countDown();
        }
    }

    private void transact(KafkaConsumer<String, String> consumer, ConsumerRecords<String, String> records, int n) {
        if (n % 3 == 0) {
            write(consumer, records);
            producer.abortTransaction();
            say("aborted", "");
        }
        Map<TopicPartition, OffsetAndMetadata> offsets = write(consumer, records);
        if (n == Integer.parseInt(flags.getOrDefault("hang", "0"))) {
            say("hangs", "");
            new Scanner(System.in).nextLine();
        }
        producer.commitTransaction();
        say("committed", offsets.entrySet().stream()
            .map(e -> "\"%d\":%d".formatted(e.getKey().partition(), e.getValue().offset()))
            .collect(Collectors.joining(",", ",\"offsets\":{", "}")));
    }

    private Map<TopicPartition, OffsetAndMetadata> write(KafkaConsumer<String, String> consumer, ConsumerRecords<String, String> records) {
        producer.beginTransaction();
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (ConsumerRecord<String, String> r : records) {
            producer.send(new ProducerRecord<>(flags.get("to"), r.partition(), null, r.value()));
            offsets.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
        }
        producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
        producer.flush();
        return offsets;
    }

    private static void say(String event, String rest) {
        Instant now = Instant.now();
        System.out.println("{\"at\":%d,\"event\":\"%s\"%s}".formatted(now.getEpochSecond() * 1_000_000_000L + now.getNano(), event, rest));
    }
}
