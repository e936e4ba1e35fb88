import java.util.Scanner;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.tools.TransactionsCommand;

/** Runs kafka-transactions once for each line of standard input, all in one virtual machine, which is slow to start. */
public final class Transactions {
    public static void main(String[] args) {
        Exit.setExitProcedure((code, message) -> {
            throw new IllegalStateException("exit code " + code);
        });
        Scanner lines = new Scanner(System.in);
        while (lines.hasNextLine()) {
            String line = lines.nextLine();
            System.out.println("$ " + line);
            try {
                TransactionsCommand.main(("--bootstrap-server " + args[0] + " " + line).split(" "));
            } catch (Exception e) {
                System.out.println(e);
            }
        }
    }
}
