import CTrace
import Glibc

/// Kills processes with SIGKILL before one of their system calls, whichever of their threads makes it:
///
///     kill-at-call COUNT PROGRAM [ARGUMENT]...
///     kill-at-call COUNT --of PROCESS,... [--half] PROGRAM [ARGUMENT]...
///
/// Without `--of` the program itself is killed. Its calls are counted from its first write to standard output on.
/// With `--of` other processes and their threads are killed, and the program gives them work; their calls are counted
/// from its start on. With `--half` only the process that makes the call is killed.
///
/// COUNT calls are carried out. Prints `killed before NUMBER`, the number of the call, or `ended after CALLS` if
/// there were not that many. The program's output goes to standard error.
@main
struct KillAtCall {
  static func main() {
    var arguments = CommandLine.arguments.dropFirst()
    guard let count = arguments.popFirst().flatMap({ Int($0) }), arguments.count >= 1 else {
      fail("usage: kill-at-call COUNT [--of PROCESS,... [--half]] PROGRAM [ARGUMENT]...")
    }
    var others: [pid_t] = []
    if arguments.first == "--of" {
      arguments.removeFirst()
      others = (arguments.popFirst() ?? "").split(separator: ",").compactMap { pid_t($0) }
    }
    let isHalf = arguments.first == "--half"
    if isHalf { arguments.removeFirst() }
    var hunt = Hunt(limit: count, killsHalf: isHalf, isCounting: !others.isEmpty)
    for process in others { hunt.seize(process) }
    let child = start(Array(arguments), awaitsTracer: others.isEmpty)
    if others.isEmpty {
      hunt.seize(child)
      kill(child, SIGCONT)
    }
    say(hunt.run(program: child, isVictim: others.isEmpty))
  }

  /// Starts the program; it stops itself before it begins if a tracer is to take it.
  private static func start(_ words: [String], awaitsTracer: Bool) -> pid_t {
    let child = ctrace_plain_fork()
    guard child == 0 else {
      var status: CInt = 0
      // WUNTRACED
      if awaitsTracer { _ = unsafe waitpid(child, &status, 2) }
      return child
    }
    ctrace_die_with_parent()
    dup2(2, 1)
    if awaitsTracer { raise(SIGSTOP) }
    var list: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe strdup($0) } + [nil]
    _ = unsafe execvp(words[0], &list)
    _exit(127)
  }

  static func say(_ text: String) {
    let bytes = [UInt8]((text + "\n").utf8)
    _ = unsafe write(1, bytes, bytes.count)
  }

  static func fail(_ text: String) -> Never {
    let bytes = [UInt8](("kill-at-call: " + text + "\n").utf8)
    _ = unsafe write(2, bytes, bytes.count)
    exit(2)
  }
}
