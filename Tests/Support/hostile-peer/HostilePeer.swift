import Glibc

/// A hostile process, or a well-behaved one that a test watches during attacks:
///
///     hostile-peer bystand-send PORT BOARD
///     hostile-peer bystand-receive PORT BOARD
///     hostile-peer listen PATH
///     hostile-peer forge PATH
///     hostile-peer linger WAY SECONDS
///     hostile-peer register-hello PORT ROUNDS
///     hostile-peer kept-mailbox COUNT
///     hostile-peer full-counters PORT
///     hostile-peer lingering PORT COUNT
///     hostile-peer silent COUNT
///     hostile-peer check
///     hostile-peer never-forget PORT COUNT
///     hostile-peer leave-unread PORT COUNT
///     hostile-peer reopen PORT COUNT
///     hostile-peer open PORT FLAGS
///     hostile-peer odd-mailbox COUNT
///     hostile-peer odd-reply COUNT
///     hostile-peer flood list|check|port-info|open SECONDS
///     hostile-peer lock-and-live PORT bad-message|hang-up
///     hostile-peer last-sequence PORT
///     hostile-peer circle PORT COUNT
///     hostile-peer wake-the-gone SWITCH ROUNDS
///     hostile-peer false-lock SWITCH COUNT own|PROCESS own|worker
///     hostile-peer scribble PORT FLAGS WORDS THREADS
///     hostile-peer scribble-neighbours PORT WORDS THREADS
///     hostile-peer indirect PORT PORT ADDRESS
///     hostile-peer victim PORT [HEADER]
///     hostile-peer fake-daemon PATH
///     hostile-peer bell-ring PORT FLAGS
///     hostile-peer bell-lure PORT FLAGS fill|shut|files|small
///     hostile-peer bell-honest PORT COUNT
///     hostile-peer bell-quiet PORT
///     hostile-peer bell-others PORT NUMBER
///     hostile-peer bell-unread PORT COUNT
///     hostile-peer bell-storm PORT COUNT
///     hostile-peer hanging-close PATH
///     hostile-peer hanging-seal PATH SWITCH MODULE
///
/// Attackers print `ready` when the attack is done or in progress, and `got` with a description
/// when they obtain something that is not theirs. They run until they are killed.
@main
struct HostilePeer {
  static func main() {
    let arguments = CommandLine.arguments
    func word(_ index: Int) -> String { arguments.count > index ? arguments[index] : "" }
    func number(_ index: Int) -> Int { Int(word(index)) ?? 0 }
    do {
      switch word(1) {
      case "bystand-send": try Bystanding.send(word(2), word(3))
      case "bystand-receive": try Bystanding.receive(word(2), word(3))
      case "listen": try Forgery.listen(word(2))
      case "forge": try Forgery.forge(word(2))
      case "linger": try Lingering.linger(word(2), seconds: number(3))
      case "register-hello": try ControlAttacks.registerHello(word(2), rounds: number(3))
      case "kept-mailbox": try ControlAttacks.keepMailboxes(number(2))
      case "full-counters": try ControlAttacks.fillCounters(word(2))
      case "lingering": try ControlAttacks.sendAfterClose(word(2), number(3))
      case "silent": try ControlAttacks.staySilent(number(2))
      case "check": try ControlAttacks.check()
      case "never-forget": try ControlAttacks.neverForget(word(2), number(3))
      case "leave-unread": try ControlAttacks.leaveUnread(word(2), number(3))
      case "reopen": try ControlAttacks.reopen(word(2), number(3))
      case "open": try ControlAttacks.open(word(2), AskedFlags(word(3)))
      case "odd-mailbox": try OddFiles.asMailboxes(number(2))
      case "odd-reply": try OddFiles.asReplies(number(2))
      case "flood": try ControlAttacks.flood(word(2), seconds: number(3))
      case "lock-and-live": try ControlAttacks.lockAndLive(word(2), word(3))
      case "last-sequence": try ControlAttacks.lastSequence(word(2))
      case "circle": try ControlAttacks.circle(word(2), number(3))
      case "wake-the-gone": try Departing.wake(word(2), rounds: number(3))
      case "false-lock": try Departing.lock(word(2), number(3), word(4), word(5))
      case "scribble":
        try Scribbling.own(
          word(2), AskedFlags(word(3)), word(4), threads: max(1, number(5)))
      case "scribble-neighbours":
        try Scribbling.neighbours(word(2), word(3), threads: max(1, number(4)))
      case "indirect": try Scribbling.indirect(word(2), word(3), UInt64(word(4)) ?? 0)
      case "victim": try Scribbling.victim(word(2), header: number(3))
      case "fake-daemon": try Forgery.fakeDaemon(word(2))
      case "bell-ring": try BellAttacks.ring(word(2), AskedFlags(word(3)))
      case "bell-lure": try BellAttacks.lure(word(2), AskedFlags(word(3)), word(4))
      case "bell-honest": try BellAttacks.honest(word(2), number(3))
      case "bell-quiet": try BellAttacks.expectQuiet(word(2))
      case "bell-others": try BellAttacks.ringOthers(word(2), UInt32(word(3)) ?? 0)
      case "bell-unread": try BellAttacks.unread(word(2), number(3))
      case "bell-storm": try BellAttacks.storm(word(2), number(3))
      case "hanging-close": try HangingFiles.close(word(2))
      case "hanging-seal": try HangingFiles.seal(word(2), word(3), word(4))
      default: fail("no such attack: \(word(1))")
      }
    } catch {
      fail("\(error)")
    }
  }

  static func say(_ text: String) {
    let bytes = [UInt8]((text + "\n").utf8)
    _ = unsafe write(1, bytes, bytes.count)
  }

  static func fail(_ text: String) -> Never {
    say("failed: \(text)")
    exit(1)
  }

  static func waitForEnd() -> Never {
    while true { pause() }
  }
}
