@testable import Netmap
@testable import NetmapCore

extension FuzzTarget {
  /// A sequence of stores of a hostile peer and of a program's own calls.
  static let sharedWords = FuzzTarget(
    name: "shared-words",
    subject: "memory shared with peers: rings, krings, leases, lists, switches"
  ) { bytes in
    var input = FuzzInput(bytes)
    guard let world = try? HostileWorld() else { fatalError("there is no memory for the ports") }
    var steps = 0
    while !input.isAtEnd, steps < 200 {
      if input.flag() { world.scribble(&input) } else { world.act(&input) }
      steps += 1
    }
    world.checkBystanders()
    _ = world.engine.engine.check()
    world.closeAll()
    world.checkBystanders()
  }
}

extension FuzzInput {
  /// A number that a reader may mishandle: at a limit, or any.
  mutating func word() -> UInt64 {
    switch byte() & 15 {
    case 0: 0
    case 1: 1
    case 2: 15
    case 3: 16
    case 4: 17
    case 5: 0x7fff_ffff
    case 6: 0xffff_ffff
    case 7: 0x8000_0000
    case 8: UInt64.max
    case 9: UInt64(Int.max)
    case 10: number()
    case 11: UInt64(number(UInt32.self))
    default: UInt64(number(UInt16.self))
    }
  }
}
