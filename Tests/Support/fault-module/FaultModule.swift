import Glibc
import Netmap
import Synchronization

/// A switch module that misbehaves as its configuration says, after a number of packets, such as
/// `trap 100`.
struct FaultModule: ~Copyable, SwitchModule {
  static var name: String { "fault-module" }

  private let fault: String
  private let limit: UInt64
  private let packets = Atomic<UInt64>(0)
  private var thief = MailboxThief?.none

  init(configuration: String) throws(NetmapError) {
    let words = configuration.split(separator: " ").map(String.init)
    fault = words.first ?? ""
    limit = words.count > 1 ? UInt64(words[1]) ?? 0 : 0
    switch fault {
    case "refuse":
      throw NetmapError(
        .tooLarge, "configure", Self.name, reason: "it was told to refuse",
        remedy: "tell it another")
    case "trap-at-once": Self.trap()
    case "loop-at-once": Self.loop()
    case "mailbox": thief = MailboxThief()
    default: break
    }
  }

  func lookup(_ batch: borrowing SwitchBatch) {
    batch.route { packet in
      guard packets.wrappingAdd(1, ordering: .relaxed).newValue > limit else {
        return packet.length == 0 ? .drop : .broadcast
      }
      switch fault {
      case "trap": Self.trap()
      case "loop": Self.loop()
      case "exit": exit(0)
      case "nonsense": return SwitchVerdict(rawValue: UInt32.random(in: 255...UInt32.max))
      case "slow": usleep(1000)
      default: break
      }
      return .broadcast
    }
  }

  var statistics: [SwitchModuleStatistic] {
    [
      SwitchModuleStatistic("seen", packets.load(ordering: .relaxed)),
      SwitchModuleStatistic("user", UInt64(geteuid())),
    ]
      + [("asked", thief?.asked), ("granted", thief?.granted), ("denied", thief?.refused)]
      .compactMap { name, value in value.map { SwitchModuleStatistic(name, UInt64($0)) } }
  }

  /// Traps, as an error in a module does.
  private static func trap() {
    let none: [Int] = []
    print(none[Int(getpid())])
  }

  private static func loop() {
    while getpid() != 0 {}
  }
}

@c(netmap_switch_module)
public func netmapSwitchModule() -> UnsafeRawPointer {
  unsafe SwitchModuleLibrary.table(of: FaultModule.self)
}
