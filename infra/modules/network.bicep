// The virtual network: a subnet for each kind of guest, and the private DNS zones of what is reached inside it.

@description('Suffix of the resource names.')
param name string
@description('Region.')
param location string
@description('Tags of every resource.')
param tags object
@description('Address space; cut into subnets of 256 addresses.')
param addressPrefix string
@description('Service that the subnet of the app is delegated to.')
@allowed(['Microsoft.App/environments', 'Microsoft.Web/serverFarms'])
param appDelegation string

var appPrefix = cidrSubnet(addressPrefix, 24, 0)
var endpointPrefix = cidrSubnet(addressPrefix, 24, 1)
var databasePrefix = cidrSubnet(addressPrefix, 24, 2)
var jobPrefix = cidrSubnet(addressPrefix, 24, 3)

var zoneNames = {
  blob: 'privatelink.blob.${environment().suffixes.storage}'
  queue: 'privatelink.queue.${environment().suffixes.storage}'
  table: 'privatelink.table.${environment().suffixes.storage}'
  vault: 'privatelink.vaultcore.azure.net'
  database: 'shadow-hubble.private.postgres.database.azure.com'
}

// Nothing listens in the subnets of the app and of the migration job.
resource guestRules 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: 'nsg-${name}-guests'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'deny-internet-inbound'
        properties: {
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource endpointRules 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: 'nsg-${name}-endpoints'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'allow-https-from-guests'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefixes: [appPrefix, jobPrefix]
          sourcePortRange: '*'
          destinationAddressPrefix: endpointPrefix
          destinationPortRange: '443'
        }
      }
      {
        name: 'deny-other-inbound'
        properties: {
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource databaseRules 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: 'nsg-${name}-database'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'allow-postgres-from-guests'
        properties: {
          description: 'The subnet itself is among the sources: primary, standby and replica talk to each other.'
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefixes: [appPrefix, jobPrefix, databasePrefix]
          sourcePortRange: '*'
          destinationAddressPrefix: databasePrefix
          destinationPortRanges: ['5432', '6432']
        }
      }
      {
        name: 'deny-other-inbound'
        properties: {
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2025-05-01' = {
  name: 'vnet-${name}'
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: [addressPrefix] }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: appPrefix
          networkSecurityGroup: { id: guestRules.id }
          delegations: [{ name: 'app', properties: { serviceName: appDelegation } }]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: endpointPrefix
          networkSecurityGroup: { id: endpointRules.id }
          privateEndpointNetworkPolicies: 'Enabled'
        }
      }
      {
        name: 'database'
        properties: {
          addressPrefix: databasePrefix
          networkSecurityGroup: { id: databaseRules.id }
          delegations: [{ name: 'database', properties: { serviceName: 'Microsoft.DBforPostgreSQL/flexibleServers' } }]
          serviceEndpoints: [{ service: 'Microsoft.Storage' }]
        }
      }
      {
        name: 'jobs'
        properties: {
          addressPrefix: jobPrefix
          networkSecurityGroup: { id: guestRules.id }
          delegations: [{ name: 'jobs', properties: { serviceName: 'Microsoft.App/environments' } }]
        }
      }
    ]
  }
}

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for zone in items(zoneNames): {
    name: zone.value
    location: 'global'
    tags: tags
  }
]

resource zoneLinks 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (zone, index) in items(zoneNames): {
    parent: zones[index]
    name: 'vnet-${name}'
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: { id: network.id }
    }
  }
]

@description('Subnet of the Function App.')
output appSubnetId string = '${network.id}/subnets/app'
@description('Subnet of the private endpoints.')
output endpointSubnetId string = '${network.id}/subnets/endpoints'
@description('Subnet of the database server.')
output databaseSubnetId string = '${network.id}/subnets/database'
@description('Subnet of the migration job.')
output jobSubnetId string = '${network.id}/subnets/jobs'
@description('Zone of the database; linked when this module is done.')
output databaseZoneId string = resourceId('Microsoft.Network/privateDnsZones', zoneNames.database)
@description('Zone of the blob endpoints.')
output blobZoneId string = resourceId('Microsoft.Network/privateDnsZones', zoneNames.blob)
@description('Zone of the queue endpoints.')
output queueZoneId string = resourceId('Microsoft.Network/privateDnsZones', zoneNames.queue)
@description('Zone of the table endpoints.')
output tableZoneId string = resourceId('Microsoft.Network/privateDnsZones', zoneNames.table)
@description('Zone of the vault endpoint.')
output vaultZoneId string = resourceId('Microsoft.Network/privateDnsZones', zoneNames.vault)
