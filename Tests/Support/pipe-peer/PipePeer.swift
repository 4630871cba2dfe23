internal import Glibc
internal import NetmapCore
internal import Synchronization

// pipe-peer send|receive ...        drives one end, started by a process that has the engine
// pipe-peer soak [--packets N] [--batch N] [--slots N] [--waiting spin|sleep] [--threads]
//                                   sends N numbered packets to a second process (or to a thread that
//                                   maps the same memory again), which checks every packet

@main
enum PipePeer {
  static func main() {
    do throws(NetmapError) {
      let arguments = CommandLine.arguments
      guard arguments.count > 1 else { throw usage("a command is missing") }
      let options = try Options(Array(arguments.dropFirst(2)))
      if arguments[1] == "soak" {
        try soak(options)
      } else if let role = PeerJob.Role(rawValue: arguments[1]) {
        try drive(role, options)
      } else {
        throw usage("unknown command '\(arguments[1])'")
      }
    } catch {
      let message = Array("pipe-peer: \(error)\n".utf8)
      _ = unsafe write(2, message, message.count)
      exit(1)
    }
  }

  static func usage(_ reason: String) -> NetmapError {
    NetmapError(
      .invalidArgument, "parse", "command line", reason: reason,
      remedy: "pipe-peer soak --packets N --batch N --slots N --waiting spin|sleep --threads")
  }

  /// Drives one end, in a process that inherited the descriptors.
  static func drive(_ role: PeerJob.Role, _ options: Options) throws(NetmapError) {
    let place = PeerPlace(
      binding: Int(try options.number("--binding", nil)),
      tag: ClientTag(
        slot: UInt32(try options.number("--slot", nil)),
        epoch: UInt32(try options.number("--epoch", nil))))
    let files = PeerPlace.descriptors
    let traffic = try PeerTraffic(
      region: files[0], segment: files[1], directory: files[2], place: place,
      job: try options.job(role))
    print(try traffic.run())
  }

  /// Drives both ends: this process sends, and another process or thread receives.
  static func soak(_ options: Options) throws(NetmapError) {
    let slots = UInt32(clamping: try options.number("--slots", 1024))
    let job = try options.job(.send)
    let engine = try Engine()
    let hints = RingGeometryHints(transmitSlots: slots, receiveSlots: slots)
    let sender = try engine.register(RegisterRequest(name: try PortName("soak{1"), hints: hints))
    let receiver = try engine.register(RegisterRequest(name: try PortName("soak}1")))
    let sleeper = Sleeper(doorbells: engine.doorbells)
    let place = PeerPlace(
      binding: receiver.bindingIndex, tag: try engine.addClient(process: getpid()))
    let port = try engine.mapPort(sender, tag: try engine.addClient(process: getpid()))
    let traffic = PeerTraffic(port, sleeper, job)
    let other = try options.job(.receive)
    if options.has("--threads") {
      print("soak: 2 threads of one process, 2 mappings")
      let thread = try PeerThread(other, place, engine: engine, registration: receiver)
      print(try traffic.run())
      print(try thread.join())
    } else {
      print("soak: 2 processes")
      let process = try PeerProcess(
        "/proc/self/exe", other, place, engine: engine, registration: receiver)
      do throws(NetmapError) {
        print(try traffic.run())
      } catch {
        process.kill()
        _ = process.wait()
        throw error
      }
      let (status, output) = process.wait(within: nil)
      print(output, terminator: "")
      guard status == 0 else {
        throw NetmapError(
          .inputOutput, "soak", "receiver", reason: "it ended with status \(status)")
      }
    }
    print("soak: nothing lost, nothing out of order")
  }
}

/// Options of the form `--name value` and `--name`.
struct Options {
  private var values: [String: String] = [:]

  init(_ arguments: [String]) throws(NetmapError) {
    let flags = ["--threads"]
    let known = [
      "--packets", "--batch", "--slots", "--waiting", "--binding", "--slot", "--epoch",
    ]
    var index = 0
    while index < arguments.count {
      let name = arguments[index]
      if flags.contains(name) {
        values[name] = ""
        index += 1
      } else if known.contains(name), index + 1 < arguments.count {
        values[name] = arguments[index + 1]
        index += 2
      } else {
        throw PipePeer.usage("'\(name)' is unknown or lacks its value")
      }
    }
  }

  func has(_ name: String) -> Bool { values[name] != nil }

  func number(_ name: String, _ standard: UInt64?) throws(NetmapError) -> UInt64 {
    if let text = values[name], let number = UInt64(text) { return number }
    guard values[name] == nil, let standard else { throw PipePeer.usage("\(name) wants a number") }
    return standard
  }

  func job(_ role: PeerJob.Role) throws(NetmapError) -> PeerJob {
    guard let waiting = PeerJob.Waiting(rawValue: values["--waiting"] ?? "spin") else {
      throw PipePeer.usage("--waiting is spin or sleep")
    }
    let batch = UInt32(clamping: try number("--batch", 256))
    guard batch > 0 else { throw PipePeer.usage("--batch wants at least 1") }
    return PeerJob(
      role, packets: try number("--packets", 1_000_000), batch: batch, waiting: waiting)
  }
}
