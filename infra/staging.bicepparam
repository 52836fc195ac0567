// Staging: what production is, smaller; a failover can be tried here.
using 'main.bicep'

param environmentName = 'staging'
param location = readEnvironmentVariable('AZURE_LOCATION')

param database = {
  skuName: 'Standard_D2ds_v5'
  skuTier: 'GeneralPurpose'
  storageSizeGB: 128
  highAvailability: 'ZoneRedundant'
  backupRetentionDays: 7
  geoRedundantBackup: 'Disabled'
  readReplica: false
  pgbouncerPoolSize: 50
}

param app = {
  plan: 'flex'
  instanceMemoryMB: 4096
  maximumInstances: 40
  alwaysReadyHttp: 1
  alwaysReadyDurable: 1
  httpConcurrency: 100
  zoneRedundant: false
}

param storageSku = 'Standard_ZRS'
param frontDoor = false
param logRetentionDays = 30
param auditRetentionDays = 1

param identityProvider = {
  issuer: readEnvironmentVariable('OIDC_ISSUER')
  audience: readEnvironmentVariable('OIDC_AUDIENCE')
  bootstrapAdmins: filter(split(readEnvironmentVariable('BOOTSTRAP_ADMINS', ''), ','), subject => !empty(subject))
}
param functionKeyDigests = filter(split(readEnvironmentVariable('FUNCTION_KEY_SHA256S', ''), ','), digest => !empty(digest))
param webhookKeySecret = readEnvironmentVariable('WEBHOOK_KEY_SECRET', '')
param alertEmails = filter(split(readEnvironmentVariable('ALERT_EMAILS', ''), ','), address => !empty(address))
